"""The rows of a page's tables: contenders, and runs that failed."""

import shlex
from collections.abc import Iterator, Sequence
from math import isinf
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from experiments.results.folder import TRACEBACK
from experiments.results.report.columns import COLUMNS
from experiments.results.report.conditions import over_all
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender, Problem, Runs
from experiments.results.report.verdict import Verdict
from experiments.results.statistics import interval
from experiments.results.swept import as_value, without_seed

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

    `under` has what runs reach under conditions.
    """
    means = over_all(under) if len(under) else under
    rows = [_row(verdict, place, one, means) for place, one in enumerate(verdict.ranked, 1)]
    used = {name for row in rows for name, cell in row.cells.items() if cell.text}
    return [
        row._replace(cells={k: cell for k, cell in row.cells.items() if k in used}) for row in rows
    ]


def failures(problem: Problem) -> Iterator[Failed]:
    """Give the runs of a problem that are not finished, trials too."""
    for contender in problem.contenders:
        for path, one in {**contender.runs, **contender.tuned}.items():
            if one.status != "finished":
                reason = one.error or f"it is {one.status}, and says no more"
                yield Failed(
                    contender.name,
                    "" if one.seed is None else str(one.seed),
                    one.status,
                    reason,
                    str(path),
                    _end_of(path / TRACEBACK),
                    command_of({path: one}),
                )


def command_of(runs: Runs) -> str:
    """Return the command that makes some runs again, which differ in their seeds alone.

    >>> from experiments.results.summary import Summary
    >>> command_of({Path("a"): Summary("finished", 0, ("optim=lion", "seed=0"))})
    'python -m experiments optim=lion seed=0'
    """
    first = next(iter(runs.values()))
    seeds = sorted({one.seed for one in runs.values() if one.seed is not None})
    given = [*without_seed(first.overrides)]
    given += [f"seed={','.join(map(str, seeds))}"] if seeds else []
    return shlex.join(["python", "-m", "experiments", *(["-m"] if len(seeds) > 1 else []), *given])


def _row(verdict: Verdict, place: int, one: Contender, under: Table) -> Row:
    goal, metric = verdict.problem.goal, verdict.metric
    own = [*one.finished.values()]
    ended = [one.runs[path] for path in own]
    final = [run.final for run in ended]
    cells = {"#": Cell(str(place) if own else "", place), **_set(verdict, one)}
    if goal:
        cells[goal.name] = _spread([held[goal.name] for held in final if goal.name in held])
    if metric and goal and metric != goal:
        values = [held[metric.name] for held in final if metric.name in held]
        cells[metric.name] = _spread(values)
    if metric:
        values = [held[metric.name] for held in final if metric.name in held]
        cells["95 % interval"] = _interval(values)
    cells |= _beyond(verdict, one)
    for condition in under.condition.unique() if len(under) else ():
        own_rows = under[(under.contender == one.name) & (under.condition == condition)]
        cells[condition] = _spread(own_rows.reached.tolist())
    cells["runs"] = Cell(f"{len(own)}/{len(one.runs)}", len(own))
    cells["trials"] = _trials(one)
    seconds = [summary.seconds for summary in {**one.runs, **one.tuned}.values()]
    cells["seconds"] = Cell(f"{sum(seconds):.0f}", sum(seconds))
    cells |= {name: _own(of(ended)) for name, of in COLUMNS.items() if ended}
    return Row(one.name, cells, command_of(one.runs) if one.runs else "")


def _own(value: float | str) -> Cell:
    return Cell(value if isinstance(value, str) else f"{value:.4g}", value)


def _set(verdict: Verdict, one: Contender) -> dict[str, Cell]:
    """Return what a contender sets, in a column a key; its name, where that tells none apart."""
    others = verdict.problem.contenders
    keys = dict.fromkeys(key for other in others for key in other.set)
    held = {key: as_value(one.set.get(key, "")) for key in keys}
    if len({tuple(other.set.items()) for other in others}) < len(others) or not keys:
        return {"contender": _text(one.name)}
    return {key: Cell(one.set.get(key, ""), _order(value)) for key, value in held.items()}


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
    if not values:
        return Cell("", float("-inf"))
    said = f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")
    return Cell(said, mean(values))


def _interval(values: Sequence[float]) -> Cell:
    low, high = interval(values) if values else (float("-inf"), 0.0)
    return Cell("" if isinf(low) else f"{low:.4g} to {high:.4g}", low)


def _end_of(path: Path) -> str:
    """Return the end of a log, "" without one."""
    return path.read_text(errors="replace")[-LOG:] if path.is_file() else ""
