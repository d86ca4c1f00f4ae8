"""Words of the command line that are ours: `trust`, `rerun`, `resume`, `report`, `sweep.…`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.cli.command import SWEEP
from experiments.sweeps.settings import Settings, settings
from xformopt.refused import Refused

FOLDERS = ("rerun", "resume")
OF_SWEEP = "sweep."


class Words(NamedTuple):
    """What stands in our words, and what is left for Hydra."""

    trusted: tuple[str, ...]
    rerun: Path | None
    resume: Path | None
    report: bool
    sweep: Settings
    others: list[str]


def taken(arguments: Sequence[str]) -> Words:
    """Take our words out of a command line.

    >>> words = taken(["trust=[mine,other]", "seed=1"])
    >>> words.trusted, words.others
    (('mine', 'other'), ['seed=1'])
    """
    nameless = next((a for a in arguments if a.startswith("=")), None)
    if nameless:
        raise Refused(f"`{nameless}`: a key stands before the `=`")
    of_sweep = [a for a in arguments if a.startswith(OF_SWEEP) and "=" in a]
    others = [
        a for a in arguments if not _is_ours(a, "trust", "report", *FOLDERS) and a not in of_sweep
    ]
    if of_sweep and not SWEEP & set(arguments):
        raise Refused(f"`{of_sweep[0]}`: nothing reads it without `-m`, which sweeps")
    chosen = next((a for a in others if a.split("=")[0] in ("--config-name", "-cn")), None)
    if chosen:
        raise Refused(f"`{chosen}`: the config has one name; `rerun=FOLDER` repeats a saved one")
    trusted: list[Any] = []
    for value in (_value(a) for a in arguments if _is_ours(a, "trust")):
        trusted += value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in trusted):
        raise Refused("trust", "a list of modules", trusted, "`trust=[my_package]`")
    rerun, resume = (_folder(word, arguments) for word in FOLDERS)
    if resume and (others or rerun):
        rule = "alone beside `trust`, since a run goes on as it was set"
        raise Refused("resume", rule, arguments, "`rerun=FOLDER …` begins a run with changes")
    given = {a.partition("=")[0].removeprefix(OF_SWEEP): _value(a) for a in of_sweep}
    report = _report(arguments)
    return Words(tuple(map(str, trusted)), rerun, resume, report, settings(given), others)


def _is_ours(argument: str, *words: str) -> bool:
    key, equals, _ = argument.partition("=")
    return bool(equals) and key in words


def _value(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


def _report(arguments: Sequence[str]) -> bool:
    """Return whether a sweep ends with its report."""
    given = [a for a in arguments if _is_ours(a, "report")]
    if given and not SWEEP & set(arguments):
        says = "nothing reads it without `-m`, which sweeps; `python -m experiments.report` reports"
        raise Refused(f"`{given[0]}`: {says}")
    held = [_value(a) for a in given] or [True]
    if not isinstance(held[-1], bool):
        raise Refused("report", "true or false", held[-1])
    return held[-1]


def _folder(word: str, arguments: Sequence[str]) -> Path | None:
    """Return the folder of a run that a word names."""
    named = [a.partition("=")[2] for a in arguments if _is_ours(a, word)]
    if not named:
        return None
    if len(named) > 1:
        raise Refused(word, "given once", named)
    path = Path(named[0])
    if not (path / "config.yaml").is_file():
        if (path / "summary.json").is_file():
            rule = "the folder of a run that began; this one failed before it did"
            raise Refused(word, rule, named[0], "its `summary.json` says why")
        raise Refused(word, "the folder of a run, which holds a `config.yaml`", named[0])
    return path
