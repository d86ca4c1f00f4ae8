"""From run folders to problems: the contenders of each, with their runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar
from zipfile import BadZipFile

from experiments.results.folder import status_in
from experiments.results.metric import Metric
from experiments.results.report.grouping import Runs, apart, grouped, printable
from experiments.results.study import NAME as STUDY
from experiments.results.study import Study, study_in
from experiments.results.summary import NAME, Summary
from experiments.results.swept import Case, case_of, is_of_problem, settings
from xformopt.refused import Refused

Found = TypeVar("Found")
DAMAGED = (Refused, OSError, ValueError, TypeError, KeyError, AttributeError, BadZipFile)
"""What reading a file raises that is not whole."""


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
    def all_runs(self) -> Runs:
        """Return its runs, and those that tuned it."""
        return {**self.runs, **self.tuned}

    @cached_property
    def finished(self) -> dict[int, Path]:
        """Return the folders of the runs that are finished and have a figure, by seed."""
        done = {path: one for path, one in self.runs.items() if one.status == "finished"}
        return {one.seed or 0: path for path, one in done.items() if one.reached() is not None}

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
    """What contenders are compared on; those of a comparison were tuned before.

    `repeats` is the number of runs that are left out, since others have their settings and seed.
    """

    name: str
    contenders: Sequence[Contender]
    study: Study | None = None
    target: float | None = None
    repeats: int = 0

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
    """Return the problems of some folders, in which runs, sweeps and comparisons stand.

    Raises:
        Refused: where a folder holds no run.
    """
    found, plain, taken = list[Problem](), dict[Path, Summary](), set[Path]()
    for folder in folders:
        runs = {path: one for path, one in runs_of(folder).items() if path.resolve() not in taken}
        taken |= {path.resolve() for path in runs}
        for path in sorted(one.parent for one in folder.rglob(STUDY)):
            own = {run: one for run, one in runs.items() if path in run.parents}
            study = study_in(path)
            if study and any(path / "final" in run.parents for run in own):
                found += _compared(study, path, own)
                runs = {run: one for run, one in runs.items() if run not in own}
        plain |= runs
    found += _swept(plain)
    names = apart([one.name for one in found], [_folder(one) for one in found])
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def runs_of(folder: Path) -> Runs:
    """Return what each run of a folder reached, of one that cannot be read, why."""
    paths = sorted(path.parent for path in folder.rglob(NAME))
    if not paths:
        raise Refused(f"`{folder}` holds no run, with its `{NAME}`")
    return {path: _status_in(path) for path in paths}


def safely(read: Callable[[Path], Found], folder: Path, nothing: Found) -> Found:
    """Return what a run's file says, and nothing of one that is not whole."""
    try:
        return read(folder)
    except DAMAGED:
        return nothing


def is_whole(read: Callable[[Path], object], folder: Path) -> bool:
    """Return whether a run's file can be read."""
    try:
        read(folder)
    except DAMAGED:
        return False
    return True


def _status_in(folder: Path) -> Summary:
    """Return what a run reached, without figures that are not finite."""
    try:
        found = status_in(folder)
        return replace(found, final=_finite(found.final), best=_finite(found.best))
    except DAMAGED as error:
        return Summary("failed", error=f"its {NAME} cannot be read: {error}")


def _finite(figures: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in figures.items() if isinstance(v, int | float) and isfinite(v)}


def _compared(study: Study, folder: Path, runs: Runs) -> list[Problem]:
    """Return the problems of a comparison: contenders differ in what was swept.

    Final runs of what was chosen before, by fewer trials, are of no contender.
    """
    problems: dict[str, list[Contender]] = {}
    parts = {
        part: {path: one for path, one in runs.items() if folder / part in path.parents}
        for part in ("trials", "final")
    }
    tuned: dict[Case, dict[Path, Summary]] = {}
    for path, one in parts["trials"].items():
        tuned.setdefault(case_of(one.overrides, study.swept), {})[path] = one
    chosen = {case_of(job, study.swept): job for job in study.chosen}
    for case in dict.fromkeys([*chosen, *tuned]):
        job = chosen.get(case, ())
        final = {p: one for p, one in parts["final"].items() if job and {*job} <= {*one.overrides}}
        own = {key: value for key, value in settings(job).items() if not is_of_problem(key)}
        one = Contender(printable(case.contender), final, own, tuned.get(case, {}))
        problems.setdefault(case.problem, []).append(one)
    return [
        Problem(printable(name or _task(held)), held, study, study.targets.get(name))
        for name, held in problems.items()
    ]


def _swept(runs: Runs) -> list[Problem]:
    """Return the problems of runs that are not of a comparison."""
    return [
        Problem(group.name, [Contender(*one) for one in group.contenders], repeats=group.repeats)
        for group in grouped(runs)
    ]


def _task(contenders: Sequence[Contender]) -> str:
    """Return the task of some contenders, which is that of all."""
    runs = (run for one in contenders for run in one.all_runs.values())
    return next((run.task for run in runs if run.task), "")


def _folder(problem: Problem) -> str:
    """Return where the runs of a problem stand."""
    paths = [path for one in problem.contenders for path in one.all_runs]
    if not paths:
        return ""
    depth = 3 if problem.study else 2  # …/final/IDENTITY/SEED, …/IDENTITY/SEED
    return paths[0].absolute().parents[depth - 1].name
