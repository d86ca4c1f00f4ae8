"""From run folders to problems: the contenders of each, with their runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean

from experiments.results.folder import status_in
from experiments.results.metric import Metric
from experiments.results.study import Study, study_in
from experiments.results.summary import NAME, Summary
from experiments.results.swept import (
    Case,
    case_of,
    differing,
    is_of_problem,
    settings,
    without_seed,
)
from xformopt.refused import Refused

Runs = Mapping[Path, Summary]
"""What each run reached, by its folder."""


@dataclass(frozen=True)
class Contender:
    """What is compared on a problem: its runs, and of a comparison those that tuned it.

    `set` is what it sets that others set otherwise, and of a comparison what its tuning chose.
    """

    name: str
    runs: Runs
    set: Mapping[str, str] = field(default_factory=dict)
    tuned: Runs = field(default_factory=dict)

    @cached_property
    def finished(self) -> dict[int, Path]:
        """Return the folders of the runs that are finished, by seed."""
        return {one.seed or 0: path for path, one in self.runs.items() if one.status == "finished"}

    @cached_property
    def goal(self) -> Metric | None:
        """Return what it is chosen by."""
        return next((one.goal for one in self.runs.values() if one.goal), None)

    @cached_property
    def mean(self) -> float | None:
        """Return the mean of its goal after the last step, over the runs that are finished."""
        reached = [self.runs[path].reached() for path in self.finished.values()]
        held = [value for value in reached if value is not None]
        return mean(held) if held else None


@dataclass(frozen=True)
class Problem:
    """What contenders are compared on; those of a comparison were tuned before."""

    name: str
    contenders: Sequence[Contender]
    study: Study | None = None

    @cached_property
    def goal(self) -> Metric | None:
        """Return what its contenders are chosen by."""
        return next((one.goal for one in self.contenders if one.goal), None)

    @cached_property
    def ranked(self) -> list[Contender]:
        """Return the contenders, the best by the goal first, those without a figure last."""
        sign = -1 if self.goal and self.goal.mode == "max" else 1
        held = [one for one in self.contenders if one.mean is not None]
        others = [one for one in self.contenders if one.mean is None]
        return [*sorted(held, key=lambda one: sign * (one.mean or 0.0)), *others]


def problems_in(folders: Iterable[Path]) -> list[Problem]:
    """Return the problems of some folders, each that of a run, a sweep or a comparison.

    Raises:
        Refused: where a folder holds no run.
    """
    found, plain = list[Problem](), dict[Path, Summary]()
    for folder in folders:
        study = study_in(folder)
        if study is None or not (folder / "final").exists():
            plain |= runs_of(folder)
        else:
            found += _compared(study, runs_of(folder / "final"), runs_of(folder / "trials"))
    return [*found, *_swept(plain)]


def runs_of(folder: Path) -> Runs:
    """Return what each run of a folder reached, of one that cannot be read, why."""
    paths = sorted(path.parent for path in folder.rglob(NAME))
    if not paths:
        raise Refused(f"`{folder}` holds no run, with its `{NAME}`")
    return {path: _status_in(path) for path in paths}


def _status_in(folder: Path) -> Summary:
    try:
        return status_in(folder)
    except (Refused, ValueError, TypeError, KeyError) as error:
        return Summary("failed", error=f"its {NAME} cannot be read: {error}")


def _compared(study: Study, final: Runs, trials: Runs) -> list[Problem]:
    """Return the problems of a comparison: contenders differ in what was swept."""
    problems: dict[str, list[Contender]] = {}
    tuned = _by_case(trials, study.swept)
    for job in study.chosen:
        case = case_of(job, study.swept)
        runs = {path: one for path, one in final.items() if {*job} <= {*one.overrides}}
        own = {key: value for key, value in settings(job).items() if not is_of_problem(key)}
        one = Contender(_printable(case.contender), runs, own, tuned.get(case, {}))
        problems.setdefault(case.problem, []).append(one)
    return [
        Problem(_printable(name or _task(held)), held, study) for name, held in problems.items()
    ]


def _swept(runs: Runs) -> list[Problem]:
    """Return the problems of runs that are not of a comparison: one for each task.

    Contenders are runs that differ in the seed alone.
    """
    tasks: dict[str, dict[Path, Summary]] = {}
    for path, one in runs.items():
        tasks.setdefault(one.task, {})[path] = one
    if "" in tasks and len(tasks) == 2:  # those that failed before they knew their task
        (name,) = tasks.keys() - {""}
        tasks = {name: {**tasks[name], **tasks.pop("")}}
    return [Problem(_printable(name), _contenders(own)) for name, own in tasks.items()]


def _contenders(runs: Runs) -> list[Contender]:
    held: dict[object, dict[Path, Summary]] = {}
    for path, one in runs.items():
        held.setdefault(one.identity or without_seed(one.overrides) or path, {})[path] = one
    firsts = [next(iter(own.values())) for own in held.values()]
    own = [settings(without_seed(one.overrides)) for one in firsts]
    keys = differing(own)
    said = [" ".join(filter(None, case_of(one.overrides, keys))) for one in firsts]
    titled = [name or one.title for name, one in zip(said, firsts, strict=True)]
    names = _apart(titled, firsts)
    told = [{key: one[key] for key in keys if key in one} for one in own]
    return [Contender(*one) for one in zip(names, held.values(), told, strict=True)]


def _printable(name: str) -> str:
    """Return a name with a mark in place of what is no letter, so that it stands in one line."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def _apart(names: Sequence[str], firsts: Sequence[Summary]) -> list[str]:
    """Return the names, with the identity behind those that are the same."""
    return [
        _printable(f"{name} ({one.identity[:6]})" if names.count(name) > 1 else name)
        for name, one in zip(names, firsts, strict=True)
    ]


def _by_case(runs: Runs, swept: Sequence[str]) -> dict[Case, dict[Path, Summary]]:
    found: dict[Case, dict[Path, Summary]] = {}
    for path, one in runs.items():
        found.setdefault(case_of(one.overrides, swept), {})[path] = one
    return found


def _task(contenders: Sequence[Contender]) -> str:
    """Return the task of some contenders, which is that of all."""
    return next((run.task for one in contenders for run in one.runs.values() if run.task), "")
