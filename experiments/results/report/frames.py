"""The figures of runs as tables: a row a run, an evaluation, or a point of a curve."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from experiments.results import evaluations
from experiments.results.evaluations import Evaluation, called
from experiments.results.folder import METRICS, read_metrics
from experiments.results.report.reading import Contender, Problem, Runs, safely
from experiments.results.summary import Summary
from experiments.results.swept import as_value, settings

Table = Any
"""A pandas table, of whose columns a type checker knows too little."""
NO_FIGURE = ("step", "seconds")


def runs(problems: Sequence[Problem]) -> Table:
    """Return a row a run, trials too: what it is of, its settings, final and best figures."""
    return pd.DataFrame([_row(*one) for one in _each(problems)])


def curves(problems: Sequence[Problem]) -> Table:
    """Return a row an evaluation of each run, while it was trained."""
    rows = [
        {**_about(problem, contender, part, summary), **line, "folder": str(path)}
        for problem, contender, part, path, summary in _each(problems)
        for line in history(path)
    ]
    return pd.DataFrame(rows)


def conditions(problems: Sequence[Problem]) -> Table:
    """Return a row a figure under an attack, on corrupted images, and on clean ones beside."""
    rows = []
    for problem, contender, part, path, summary in _each(problems):
        found = safely(evaluations.read, path, [])
        for one, name in zip(found, called(found), strict=True):
            about = _about(problem, contender, part, summary)
            rows.append({**about, **_condition(one, name), "folder": str(path)})
    return pd.DataFrame(rows)


def history(path: Path) -> list[dict[str, Any]]:
    """Return the evaluations of a run, with figures alone; one that cannot be read has none."""
    lines = safely(read_metrics, path, []) if (path / METRICS).exists() else []
    return [{k: v for k, v in line.items() if type(v) in (int, float)} for line in lines]


def over_seeds(problem: Problem, shown: Sequence[Contender]) -> Table:
    """Return each figure of some contenders at each step: its mean, and its range over seeds.

    Steps that not all runs of a contender have come to are of those that have; `seconds` are their
    mean, `epochs` are NaN without data.
    """
    rows = [row for one in shown for row in _averaged(one)]
    return pd.DataFrame(rows)


def _averaged(contender: Contender) -> Iterator[dict[str, Any]]:
    held: dict[tuple[str, float], list[tuple[float, float]]] = {}
    epoch = max((one.epoch for one in contender.runs.values()), default=0)
    for path in contender.runs:
        for line in history(path):
            for name, value in line.items():
                if name not in NO_FIGURE and not name.endswith("_seconds"):
                    found = held.setdefault((name, line["step"]), [])
                    found.append((value, line.get("seconds", 0.0)))
    for (name, step), found in held.items():
        values, seconds = zip(*found, strict=True)
        yield {
            "contender": contender.name,
            "figure": name,
            "steps": step,
            "epochs": step / epoch if epoch else None,
            "seconds": mean(seconds),
            "mean": mean(values),
            "least": min(values),
            "most": max(values),
            "runs": len(values),
        }


def _each(
    problems: Sequence[Problem],
) -> Iterator[tuple[Problem, Contender, str, Path, Summary]]:
    for problem in problems:
        for contender in problem.contenders:
            parts: Mapping[str, Runs] = {"final": contender.runs, "trial": contender.tuned}
            for part, held in parts.items():
                for path, summary in held.items():
                    yield problem, contender, part, path, summary


def _about(problem: Problem, contender: Contender, part: str, summary: Summary) -> dict[str, Any]:
    name = problem.name or summary.task
    return {"problem": name, "contender": contender.name, "part": part, "seed": summary.seed}


def _row(
    problem: Problem, contender: Contender, part: str, path: Path, summary: Summary
) -> dict[str, Any]:
    held = {key: as_value(value) for key, value in settings(summary.overrides).items()}
    about = {"status": summary.status, "error": summary.error, "seconds": summary.seconds}
    about |= {"parameters": summary.parameters, "model": summary.model}
    best = {f"best_{name}": value for name, value in summary.best.items()}
    own = _about(problem, contender, part, summary) | about | {"folder": str(path)}
    given = {f"set {k}": v for k, v in held.items() if k != "seed"}
    return {**summary.final, **best, **given, **own}


def _condition(one: Evaluation, name: str) -> dict[str, Any]:
    weights = "_".join(filter(None, (one.weights, one.average)))
    held = {"weights": weights, "split": one.split, "kind": one.kind, "name": one.name}
    held |= {"called": name, "norm": one.norm, "level": one.level, "count": one.count}
    return {**held, **one.metrics}
