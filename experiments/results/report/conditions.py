"""What contenders reach under attacks and on corrupted images: a row a run and condition."""

import pandas as pd

from experiments.results.report import frames
from experiments.results.report.finding import Finding
from experiments.results.report.frames import Table
from experiments.results.report.reading import Problem
from experiments.results.report.verdict import Verdict

CORRUPTED = "all corruptions"


def points(problem: Problem) -> Table:
    """Return what the last weights of runs reach under each condition, and on clean images.

    That of a corruption is of a severity; the mean of all is a condition, too.
    """
    frame = frames.conditions([problem])
    if problem.goal is None or not len(frame):
        return pd.DataFrame()
    metric = problem.goal.name.removeprefix("valid_")
    own: Table = frame[(frame.weights == "last") & (frame.part == "final")]
    own = own.rename(columns={metric: "reached"})
    clean = own[own.kind == "clean"].groupby("folder").reached.first()
    under: Table = own[own.kind != "clean"]
    levels = under.called + " of " + under.level.map("{:.4g}".format)
    named = under.called.where(under.kind == "corruption", levels)
    held = under.assign(condition=named, clean=under.folder.map(clean))
    columns = ["contender", "seed", "folder", "kind", "called", "level"]
    return held[[*columns, "condition", "reached", "clean"]]


def over_all(held: Table) -> Table:
    """Return the mean of each run over all corruptions, and what it reaches under each attack."""
    keys = ["contender", "seed", "folder", "clean", "condition"]
    corrupted = held[held.kind == "corruption"].assign(condition=CORRUPTED)
    attacked = held[held.kind == "attack"]
    parts = [part.groupby(keys, dropna=False).reached.mean() for part in (corrupted, attacked)]
    return pd.concat([part.reset_index() for part in parts if len(part)])


def findings(verdict: Verdict, held: Table) -> list[Finding]:
    """Return what contenders reach under all corruptions, what these take, and under attacks.

    Contenders are those of the verdict, over its seeds; of a comparison the best one leads, of a
    sweep its leader.
    """
    metric = verdict.metric
    if metric is None or not len(held):
        return []
    name = metric.name.removeprefix("test_")
    means = over_all(held)
    tables = {f"{name} under {c}": own for c, own in means.groupby("condition", sort=False)}
    if f"{name} under {CORRUPTED}" in tables:
        lost = means[means.condition == CORRUPTED]
        said = f"{name} under {CORRUPTED} less that on clean images:"
        tables[said] = lost.assign(reached=lost.reached - lost.clean)
    found = []
    for of, own in tables.items():
        figures = _figures(own, verdict)
        if figures:
            found.append(Finding(of, metric.mode, figures, pairs=verdict.problem.study is not None))
    return found


def _figures(own: Table, verdict: Verdict) -> dict[str, list[float]]:
    """Return the figures over the shared seeds, of contenders that were judged for each."""
    table = own.pivot_table(index="seed", columns="contender", values="reached")
    table = table.reindex(verdict.comparison.seeds).dropna(axis="columns")
    names = [name for name in verdict.figures if name in table]
    if verdict.problem.study is not None and verdict.metric:
        names.sort(key=lambda name: table[name].mean(), reverse=verdict.metric.mode == "max")
    return {name: table[name].tolist() for name in names}
