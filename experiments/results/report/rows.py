"""The rows of a page's tables: contenders, and runs that failed."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from experiments.results import evaluations, telemetry, trajectories
from experiments.results.comparison import as_interval, as_spread
from experiments.results.folder import METRICS, TRACEBACK, read_metrics
from experiments.results.report.columns import COLUMNS
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender, Problem, Runs, is_whole
from experiments.results.report.verdict import Verdict
from experiments.results.summary import Summary
from experiments.results.swept import as_value, without_seed
from xformopt.refused import Refused

FILES: dict[str, Callable[[Path], Any]] = {
    METRICS: lambda folder: read_metrics(folder) if (folder / METRICS).exists() else None,
    evaluations.NAME: evaluations.read,
    telemetry.NAME: telemetry.read,
    trajectories.NAME: trajectories.read,
}
"""What reads the files of a run that need not be there."""
LOG = 4000
"""So many of the last letters of a traceback are shown."""


class Cell(NamedTuple):
    """What a table shows, and what it is sorted by."""

    text: str
    order: float | str


class Row(NamedTuple):
    """A contender: its name, its cells by column, and the command that repeats it."""

    contender: str
    cells: dict[str, Cell]
    command: str


class Failed(NamedTuple):
    """A run that is not finished: whose it is, why, where its log stands, and the log's end."""

    contender: str
    seed: str
    status: str
    reason: str
    folder: str
    log: str
    command: str


def leaderboard(verdict: Verdict, under: Table) -> list[Row]:
    """Return a row a contender, the leader first; columns in which no row says anything go.

    `under` has what each run reaches under attacks, and over all corruptions.
    """
    rows = [_row(verdict, place, one, under) for place, one in enumerate(verdict.ranked, 1)]
    used = {name for row in rows for name, cell in row.cells.items() if cell.text}
    return [
        row._replace(cells={k: cell for k, cell in row.cells.items() if k in used}) for row in rows
    ]


def failures(problem: Problem) -> Iterator[Failed]:
    """Give the runs of a problem that are not finished, or left a file that is not whole.

    Trials are among them.
    """
    for contender in problem.contenders:
        for path, one in contender.all_runs.items():
            reasons = [_reason(one)] if one.status != "finished" else []
            reasons += [f"its {name} cannot be read" for name in _damaged(path)]
            if reasons:
                yield Failed(
                    contender.name,
                    "" if one.seed is None else str(one.seed),
                    one.status,
                    "; ".join(reasons),
                    str(path),
                    _end_of(path / TRACEBACK),
                    command_of({path: one}),
                )


def _reason(one: Summary) -> str:
    return one.error or f"it is {one.status}, and says no more"


def _damaged(folder: Path) -> list[str]:
    """Return the files of a run that are there and not whole."""
    return [name for name, read in FILES.items() if not is_whole(read, folder)]


def command_of(runs: Runs) -> str:
    """Return the command that makes some runs again, which differ in their seeds alone.

    >>> from experiments.results.summary import Summary
    >>> command_of({Path("a"): Summary("finished", 0, ("optim=lion", "seed=0"))})
    'python -m experiments optim=lion seed=0'
    """
    first = next(iter(runs.values()))
    seeds = sorted({one.seed for one in runs.values() if one.seed is not None})
    given = [f"trust=[{','.join(first.trusted)}]"] if first.trusted else []
    given += without_seed(first.overrides)
    given += [f"seed={','.join(map(str, seeds))}"] if seeds else []
    return shlex.join(["python", "-m", "experiments", *(["-m"] if len(seeds) > 1 else []), *given])


def _row(verdict: Verdict, place: int, one: Contender, under: Table) -> Row:
    goal, metric = verdict.problem.goal, verdict.metric
    ended = [one.runs[path] for path in one.finished.values()]
    cells = {"#": Cell(str(place) if ended else "", place), **_set(verdict.problem, one)}
    for each in dict.fromkeys(filter(None, (goal, metric))):
        cells[each.name] = _spread(_figures(ended, each.name))
    if metric:
        values = _figures(ended, metric.name)
        cells["95 % interval"] = Cell(as_interval(values), mean(values) if values else "")
    cells |= _beyond(verdict, one)
    for condition in under.condition.unique() if len(under) else ():
        own = under[(under.contender == one.name) & (under.condition == condition)]
        cells[condition] = _spread(own.reached.dropna().tolist())
    cells["runs"] = Cell(f"{len(ended)}/{len(one.runs)}", len(ended))
    cells["trials"] = _trials(one)
    seconds = sum(summary.seconds for summary in one.all_runs.values())
    cells |= {"seconds": Cell(f"{seconds:.1f}", seconds), **_chosen(verdict.problem, one)}
    for name in COLUMNS.keys() & cells.keys():
        raise Refused(f"the column `{name}`: the report has one of this name; rename yours")
    cells |= {name: _own(of(ended)) for name, of in COLUMNS.items() if ended}
    return Row(one.name, cells, command_of(one.runs) if one.runs else "")


def _figures(ended: Sequence[Summary], name: str) -> list[float]:
    return [one.final[name] for one in ended if name in one.final]


def _own(value: float | str | None) -> Cell:
    """Return what a column of a user's shows."""
    if isinstance(value, int | float):
        return Cell(f"{value:.4g}", float(value))
    return _text("" if value is None else str(value))


def _set(problem: Problem, one: Contender) -> dict[str, Cell]:
    """Return what a contender of a sweep sets, in a column a key; else its name."""
    others = problem.contenders
    keys = dict.fromkeys(key for other in others for key in other.set)
    held = {key: as_value(one.set.get(key, "")) for key in keys}
    is_told = len({tuple(other.set.items()) for other in others}) == len(others)
    if problem.study or not keys or not is_told:
        return {"contender": _text(one.name)}
    return {key: Cell(one.set.get(key, ""), _order(value)) for key, value in held.items()}


def _chosen(problem: Problem, one: Contender) -> dict[str, Cell]:
    """Return what the tuning of a comparison chose."""
    study = problem.study
    own = {k: v for k, v in one.set.items() if study and k not in study.swept}
    return {"chosen": _text(" ".join(f"{k}={v}" for k, v in own.items()))}


def _order(value: Any) -> float | str:
    return float(value) if isinstance(value, int | float) else str(value)


def _beyond(verdict: Verdict, one: Contender) -> dict[str, Cell]:
    """Return what the leader has beyond a contender."""
    held = verdict.finding.beyond.get(one.name) if verdict.finding else None
    if held is None:
        return {"leader beyond it": _text(""), "p, after Holm": _text("")}
    said = f"{held.mean:+.3g} ({held.low:+.3g} to {held.high:+.3g})"
    return {
        "leader beyond it": Cell(said, held.mean),
        "p, after Holm": Cell(f"{held.p:.2g}" + (" *" if held.is_seen else ""), held.p),
    }


def _trials(one: Contender) -> Cell:
    done = sum(summary.status == "finished" for summary in one.tuned.values())
    return Cell(f"{done}/{len(one.tuned)}" if one.tuned else "", done)


def _text(text: str) -> Cell:
    return Cell(text, text)


def _spread(values: Sequence[float]) -> Cell:
    return Cell(as_spread(values), mean(values) if values else "")


def _end_of(path: Path) -> str:
    """Return the end of a log, "" without one."""
    return path.read_text(errors="replace")[-LOG:] if path.is_file() else ""
