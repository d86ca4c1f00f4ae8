"""The command line of a comparison: what is swept, what is searched, what is the same for all."""

import shlex
from collections.abc import Sequence
from math import isfinite, prod
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override

from experiments.cli.command import SWEEP, overrides_of, with_choices
from experiments.cli.searching import without_ranges
from experiments.cli.store import fill_store
from experiments.cli.words import taken
from experiments.results.identity import APART
from experiments.results.swept import PROBLEMS, is_of_problem, sets_any, settings
from xformopt.refused import Refused, check_count

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
WORDS = {"trials": 16, "seeds": 5, "target": None, "folder": None, "report": True}


class Command(NamedTuple):
    """How contenders are compared.

    `targets` are those of the problems, `given` is for each job, `searched` for the trials, and
    `swept` tells jobs apart.
    """

    folder: Path
    trials: int
    seeds: int
    report: bool
    targets: list[float]
    line: str
    given: list[str]
    searched: list[str]
    swept: list[str]

    @property
    def keys(self) -> list[str]:
        """Return the keys that are swept."""
        return [*settings(self.swept)]

    @property
    def same(self) -> list[str]:
        """Return what each job of a comparison has whenever it goes on: no problem, no looks."""
        apart = {*APART, *PROBLEMS, "hydra", "sweep", "trust"}
        return sorted(one for one in self.given if not sets_any(one, apart))

    @property
    def set_for_all(self) -> list[str]:
        """Return the keys that are the same in each job."""
        return [*settings(self.given)]


def command_of(arguments: Sequence[str]) -> Command:
    """Return what a command line asks for."""
    own = {a.partition("=")[0]: a for a in arguments if a.partition("=")[0] in WORDS}
    parser = OverridesParser.create()
    words: dict[str, Any] = WORDS | {k: parser.parse_override(a).value() for k, a in own.items()}
    check_count("trials", words["trials"])
    check_count("seeds", words["seeds"])
    if not isinstance(words["report"], bool):
        raise Refused("report", "true or false", words["report"])
    if not isinstance(words["folder"], str):
        raise Refused("folder", "where the runs go", words["folder"], "`folder=DIR`")
    words["folder"] = Path(words["folder"])
    others = [a for a in arguments if a not in own.values() and a not in SWEEP]
    given, searched, swept = _sorted(others)
    targets = _targets(words.pop("target"), swept)
    line = shlex.join(["python", "-m", "experiments.compare", *arguments])
    return Command(**words, targets=targets, line=line, given=given, searched=searched, swept=swept)


def _targets(given: Any, swept: Sequence[str]) -> list[float]:
    """Return the target of each problem, none where there are none."""
    if given is None:
        return []
    own = [a for a in swept if all(map(is_of_problem, settings([a])))]
    lengths = {one.key_or_group: _length(one) for one in overrides_of(own)}
    count = prod(lengths.values())  # of a key that is set twice the last counts
    given = given.list if isinstance(given, ChoiceSweep) else given
    held = given if isinstance(given, list) else [given] * count
    if len(held) != count or not all(type(one) in (int, float) and isfinite(one) for one in held):
        each = f", or one for each of {count} problems" if count > 1 else ""
        raise Refused("target", f"a number{each}, or left out", given)
    return held


def _length(override: Override) -> int:
    """Return the number of values of a sweep."""
    if isinstance(override.value(), Glob):
        rule = "values that are named, where there is a `target`"
        raise Refused(override.key_or_group, rule, override.get_value_element_as_str())
    return len([*override.sweep_string_iterator()])


def _sorted(others: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return what is given for all jobs, what is searched, and what is swept."""
    fill_store(taken(["-m", "sweep.trials=1", *others]).trusted)
    for key in settings(others):
        if key in FOLDERS:
            raise Refused(f"`{key}`: a comparison has its own; `folder=DIR` says where")
        if key in ("seed", "sweep.trials", "sweep.list", "sweep.resume"):
            way_out = "`trials=N`, `seeds=N`, and the command goes on by itself"
            raise Refused(f"`{key}`: a comparison has its own; {way_out}")
    searched = [a for a in others if a.startswith("sweep.sampler=")]
    ours = [a for a in others if a.startswith(("trust=", "rerun=", "sweep.", "-"))]
    plain = with_choices(a for a in others if a not in ours)
    left, _ = without_ranges(plain)
    intervals = [a for a in plain if a not in left]
    swept = [str(one.input_line) for one in overrides_of(left) if one.is_sweep_override()]
    if all(map(is_of_problem, settings(swept))):
        raise Refused("nothing is compared: name contenders, as `optim=sgd_momentum,lion`")
    given = [a for a in (*ours, *plain) if a not in (*swept, *intervals, *searched)]
    return given, [*searched, *intervals], swept
