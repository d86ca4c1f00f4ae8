"""What makes two jobs the same: all that their configs say, beside the seed and who looks on."""

import json
from collections.abc import Mapping
from hashlib import sha256
from string import hexdigits
from typing import Any

OBSERVED = ("pictures", "telemetry", "observers", "logger")
APART = ("seed", "device", *OBSERVED, "trainer.checkpoint_every")
"""Keys of the config that do not change what is compared."""
DIGITS = 16


def identity(cfg: Mapping[str, Any]) -> str:
    """Return the hash of a resolved config, in which the order of settings does not count.

    That of parts does, since links and routes act one after the other.

    >>> once = identity({"optim": {"_target_": "Adam", "lr": 1.0, "eps": 0}, "seed": 1})
    >>> once == identity({"optim": {"eps": 0, "lr": 1, "_target_": "Adam"}})
    True
    >>> sign, top_q = {"_target_": "sign"}, {"_target_": "top_q"}
    >>> one, other = {"sign": sign, "top_q": top_q}, {"top_q": top_q, "sign": sign}
    >>> identity({"transforms": one}) == identity({"transforms": other})
    False
    """
    held = {key: _without(key, value) for key, value in cfg.items() if key not in APART}
    return sha256(json.dumps(_plain(held)).encode()).hexdigest()[:DIGITS]


def is_identity(name: str) -> bool:
    """Return whether a name is one of these.

    >>> is_identity("digits"), is_identity("293b916a9fb9b524")
    (False, True)
    """
    return len(name) == DIGITS and set(name) <= set(hexdigits.lower())


def _without(key: str, value: Any) -> Any:
    """Return a value of the config without what stands apart in it."""
    if not isinstance(value, Mapping):
        return value
    return {name: own for name, own in value.items() if f"{key}.{name}" not in APART}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = [[str(key), _plain(own)] for key, own in value.items()]
        return pairs if _holds_parts(value) else sorted(pairs, key=lambda pair: pair[0])
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _holds_parts(value: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is of parts by name, and no part itself."""
    return "_target_" not in value and all(isinstance(own, Mapping) for own in value.values())
