"""Words of the command line that are ours and not Hydra's: `trust=…` and `rerun=…`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from xformopt.refused import Refused

OURS = ("trust", "rerun")


class Words(NamedTuple):
    """What stands in our words, and what is left for Hydra."""

    trusted: tuple[str, ...]
    rerun: Path | None
    others: list[str]


def taken(arguments: Sequence[str]) -> Words:
    """Take our words out of a command line.

    >>> taken(["trust=[mine,other]", "seed=1"])
    Words(trusted=('mine', 'other'), rerun=None, others=['seed=1'])
    """
    ours = {a.partition("=")[0]: a for a in arguments if a.partition("=")[0] in OURS and "=" in a}
    others = [a for a in arguments if a not in ours.values()]
    trusted = _value(ours["trust"]) if "trust" in ours else []
    trusted = trusted if isinstance(trusted, list) else [trusted]
    if not all(isinstance(name, str) and name for name in trusted):
        raise Refused("trust", "a list of modules", trusted, "`trust=[my_package]`")
    return Words(tuple(map(str, trusted)), _folder(ours.get("rerun")), others)


def _value(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


def _folder(argument: str | None) -> Path | None:
    if argument is None:
        return None
    path = Path(argument.partition("=")[2])
    if not (path / "config.yaml").is_file():
        raise Refused("rerun", "the folder of a run, which holds a `config.yaml`", str(path))
    return path
