"""Words of the command line that are ours and not Hydra's: `trust=…` and `rerun=…`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    others = [a for a in arguments if not _is_ours(a, *OURS)]
    chosen = next((a for a in others if a.split("=")[0] in ("--config-name", "-cn")), None)
    if chosen:
        raise Refused(f"`{chosen}`: the config has one name; `rerun=FOLDER` repeats a saved one")
    trusted: list[Any] = []
    for value in (_value(a) for a in arguments if _is_ours(a, "trust")):
        trusted += value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in trusted):
        raise Refused("trust", "a list of modules", trusted, "`trust=[my_package]`")
    folders = [a for a in arguments if _is_ours(a, "rerun")]
    if len(folders) > 1:
        raise Refused("rerun", "given once", folders)
    return Words(tuple(map(str, trusted)), _folder(next(iter(folders), None)), others)


def _is_ours(argument: str, *words: str) -> bool:
    key, equals, _ = argument.partition("=")
    return bool(equals) and key in words


def _value(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


def _folder(argument: str | None) -> Path | None:
    if argument is None:
        return None
    path = Path(argument.partition("=")[2])
    if not (path / "config.yaml").is_file():
        raise Refused("rerun", "the folder of a run, which holds a `config.yaml`", str(path))
    return path
