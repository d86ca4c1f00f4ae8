"""The table that ends a sweep: a row per configuration, over its seeds, best first."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from experiments.results.evaluations import CORRUPTED
from experiments.results.summary import Summary
from experiments.results.swept import without_seed
from xformopt import text

COLUMNS = ("metric", "mean", "sd", "best", "test", "test_sd", "seeds", "seconds", "error")


@dataclass(frozen=True)
class Standing:
    """A configuration with its figures over the seeds; `test` where the task has such a part.

    `under` are mean and spread of those on test under attacks and on corrupted images.
    """

    task: str
    config: dict[str, str]
    metric: str
    mode: str
    mean: float | None
    sd: float | None
    best: float | None
    test: float | None
    test_sd: float | None
    seeds: str
    seconds: float | None
    error: str
    under: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)


def leaderboard(jobs: Sequence[Summary], planned: Iterable[Sequence[str]] = ()) -> list[Standing]:
    """Return a row per configuration, over its seeds: the mean and spread of its goal.

    Rows are sorted within each task, failed ones last. A seed counts once; those that are `planned`
    and did not begin are counted where others of their configuration did.
    """
    groups: dict[Any, dict[Any, Summary]] = {}
    for job in jobs:
        groups.setdefault(job.identity or without_seed(job.overrides), {})[job.seed] = job
    asked = Counter(frozenset(without_seed(job)) for job in {*map(tuple, planned)})
    rows = [_row([*group.values()], asked) for group in groups.values()]
    return sorted(rows, key=_rank)


def remarks(jobs: Sequence[Summary]) -> list[str]:
    """Return a line for what was swept and changed nothing: jobs that agree to the last digit.

    They agree where their seed, and every figure, final and best, are the same.
    """
    alike: dict[str, list[Summary]] = {}
    for job in (job for job in jobs if job.status == "finished"):
        alike.setdefault(f"{job.task} {job.seed} {job.final} {job.best}", []).append(job)
    found = {
        tuple(dict.fromkeys(" ".join(without_seed(job.overrides)) for job in group))
        for group in alike.values()
    }
    return [
        f"these are identical to the last digit: {'; '.join(f'`{words}`' for words in group)}"
        for group in sorted(found)
        if len(group) > 1
    ]


def as_markdown(rows: list[Standing]) -> str:
    """Lay the rows out as an aligned Markdown table; what all of them share stands above it."""
    configs = {key: [row.config.get(key) for row in rows] for key in _keys(rows)}
    metrics = {row.task: row.metric for row in rows if row.metric}  # a row that failed has none
    named = {
        "metric": [metrics.get(row.task) for row in rows],
        "seeds": [row.seeds for row in rows],
    }
    figures = {
        "mean ± sd": [_spread(row.mean, row.sd) for row in rows],
        "best": [_short(row.best) for row in rows],
        "test ± sd": [_spread(row.test, row.test_sd) for row in rows],
        **{
            name: [_spread(*row.under.get(name, (None, None))) for row in rows]
            for name in _conditions(rows)
            if not name.startswith(f"{CORRUPTED}_")  # one of those that it is the mean of
        },
        "seconds": [_short(row.seconds) for row in rows],
        "error": [row.error for row in rows],
    }
    above = [f"`{key}={value}`" for key, value in _shared(configs)]
    above += [f"{key} {value}" for key, value in _shared(named)]
    columns = {key: cells for key, cells in (configs | named).items() if not _is_shared(cells)}
    columns = {key: cells for key, cells in (columns | figures).items() if any(cells)}
    lines = [[cell or "" for cell in cells] for cells in zip(*columns.values(), strict=True)]
    return (f"All with {', '.join(above)}:\n\n" if above else "") + text.as_markdown(
        list(columns), lines, aligned=True
    )


def as_csv(rows: list[Standing]) -> str:
    """Lay the rows out as CSV, with full precision."""
    keys = _keys(rows)
    file = io.StringIO()
    writer = csv.writer(file)
    under = _conditions(rows)
    each = [f"{name}{end}" for name in under for end in ("", "_sd")]
    writer.writerow([*keys, *COLUMNS, *each])
    for row in rows:
        cells = [getattr(row, column) for column in COLUMNS]
        cells += [cell for name in under for cell in row.under.get(name, (None, None))]
        writer.writerow([*(row.config.get(k, "") for k in keys), *cells])
    return file.getvalue()


def _row(group: list[Summary], asked: Mapping[frozenset[str], int]) -> Standing:
    overrides = without_seed(group[0].overrides)
    count = max(len(group), asked.get(frozenset(overrides), 0))
    finished = [job for job in group if job.status == "finished"]
    goal = finished[0].goal if finished else None
    values = [value for job in finished if (value := job.reached()) is not None]
    bests = [job.best[goal.name] for job in finished] if goal else []
    tests = [
        job.final[name]
        for job in finished
        for name in job.final
        if goal and name == test_of(goal.name)
    ]
    errors = dict.fromkeys(job.error or job.status for job in group if job.status != "finished")
    return Standing(
        task=next((job.task for job in group if job.task), ""),
        config={o.lstrip("+").partition("=")[0]: o.partition("=")[2] for o in overrides},
        metric=goal.name if goal else "",
        mode=goal.mode if goal else "max",
        mean=_mean(values),
        sd=_sd(values),
        best=(max if goal and goal.mode == "max" else min)(bests) if bests else None,
        test=_mean(tests),
        test_sd=_sd(tests),
        seeds=f"{len(finished)}/{count}",
        seconds=_mean([job.seconds for job in finished]),
        error="; ".join(errors),
        under=_under(finished, test_of(goal.name)) if goal else {},
    )


def _under(finished: list[Summary], test: str) -> dict[str, tuple[float | None, float | None]]:
    """Return mean and spread of a figure on test, under each condition."""
    metric = test.removeprefix("test_")
    found = {}
    for condition in dict.fromkeys(c for job in finished for c in job.conditions):
        name = f"test_{condition}_{metric}"
        values = [job.final[name] for job in finished if name in job.final]
        found[condition] = (_mean(values), _sd(values))
    return found


def _conditions(rows: list[Standing]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.under))


def test_of(goal: str) -> str:
    """Return the goal on the test part; "" of one that is on no part."""
    return goal.replace("valid_", "test_", 1) if goal.startswith("valid_") else ""


def _mean(values: list[float]) -> float | None:
    return mean(values) if values else None


def _sd(values: list[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _rank(row: Standing) -> tuple[Any, ...]:
    if row.mean is None:
        return (True, row.task, 0.0)
    return (False, row.task, -row.mean if row.mode == "max" else row.mean)


Cells = list[Any]
"""Those of a column: text, or None where a row has nothing there."""


def _shared(columns: Mapping[str, Cells]) -> list[tuple[str, str]]:
    return [(key, cells[0]) for key, cells in columns.items() if _is_shared(cells)]


def _is_shared(cells: Cells) -> bool:
    """Return whether several rows agree."""
    return len(cells) > 1 and len(set(cells)) == 1 and cells[0] is not None


def _keys(rows: list[Standing]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row.config))


def _spread(middle: float | None, sd: float | None) -> str:
    return _short(middle) + (f" ± {sd:.2g}" if sd is not None else "")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
