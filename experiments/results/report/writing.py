"""A report on disk: the page, and its figures as CSV and Parquet."""

from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from statistics import median

import pandas as pd

from experiments.results.folder import aside, replace
from experiments.results.report import frames
from experiments.results.report.page import page
from experiments.results.report.reading import Problem, problems_in

PAGE, FILES = "report.html", "report"


def write(folders: Sequence[Path], to: Path, target: float | None = None) -> Path:
    """Write the report of some folders into one; return the page.

    Without a target each problem has that of its comparison, or the median of what its contenders
    reach.

    Raises:
        Refused: where a folder holds no run.
    """
    problems = [changed(one, target=_target(one, target)) for one in problems_in(folders)]
    to.mkdir(parents=True, exist_ok=True)
    tables = {
        "runs": frames.runs(problems),
        "curves": frames.curves(problems),
        "conditions": frames.conditions(problems),
    }
    (to / FILES).mkdir(exist_ok=True)
    for name, table in tables.items():
        _save(table, to / FILES / name)
    replace(to / PAGE, page(problems, [str(folder) for folder in folders]))
    return to / PAGE


def _target(problem: Problem, given: float | None) -> float | None:
    if problem.goal:
        problem.goal.check_target("target", given)
    held = [one.mean for one in problem.contenders if one.mean is not None]
    asked = [given, problem.target, median(held) if held else None]
    return next((one for one in asked if one is not None), None)


def _save(table: pd.DataFrame, path: Path) -> None:
    """Save a table twice, and none that is empty.

    Columns of several kinds are text in Parquet, which has one for each.
    """
    if not len(table):
        for end in (".csv", ".parquet"):
            path.with_suffix(end).unlink(missing_ok=True)
        return
    kinds = {c: "string" for c in table if pd.api.types.infer_dtype(table[c]).startswith("mixed")}
    with aside(path.with_suffix(".csv")) as unfinished:
        table.to_csv(unfinished, index=False)
    with aside(path.with_suffix(".parquet")) as unfinished:
        table.astype(kinds).to_parquet(unfinished, index=False)
