"""What contenders reach under attacks and on corrupted images: a row a run and condition."""

import pandas as pd

from experiments.results.report import frames
from experiments.results.report.finding import Finding
from experiments.results.report.frames import Table
from experiments.results.report.reading import Problem
from experiments.results.report.verdict import Verdict

CORRUPTED = "all corruptions"
CONDITION = ["kind", "called", "norm", "level", "count"]
RUN = ["contender", "seed", "folder"]


def points(problem: Problem) -> Table:
    """Return what final runs reach under each condition, beside what they do on clean images.

    It is that of the last weights, of the best ones where no run has others; clean images are as
    many, and the first ones, as those of the condition.
    """
    frame = frames.conditions([problem])
    metric = problem.goal.name.removeprefix("valid_") if problem.goal else ""
    if not len(frame) or metric not in frame:
        return pd.DataFrame()
    own: Table = frame[(frame.part == "final") & frame[metric].notna()]
    own = own.rename(columns={metric: "reached"})
    weights = "last" if (own.weights == "last").any() else "best"
    own = own[own.weights == weights]
    clean = own[own.kind == "clean"].groupby(["folder", "count"]).reached.first().rename("clean")
    under = own[own.kind != "clean"][[*RUN, *CONDITION, "reached"]]
    return under.join(clean, on=["folder", "count"]) if len(under) else pd.DataFrame()


def over_all(held: Table) -> Table:
    """Return what each run reaches under each attack, and its mean over all corruptions.

    These are the corruptions, severities and images of the run that has most; a run that lacks one
    of them has no such mean.
    """
    if not len(held):
        return held
    attacked: Table = held[held.kind == "attack"]
    levels = zip(attacked.called, attacked.level, strict=True)
    named = [f"{called} of {level:.4g}" for called, level in levels]
    parts = [_corrupted(held[held.kind == "corruption"]), attacked.assign(condition=named)]
    keys = [*RUN, "condition"]
    means = [part.groupby(keys, dropna=False)[["reached", "clean"]].mean() for part in parts]
    return pd.concat([part.reset_index() for part in means])


def findings(verdict: Verdict, means: Table) -> list[Finding]:
    """Return what contenders reach under all corruptions, what these take, and under attacks.

    `means` are those of each run. Contenders are those of the verdict, over its seeds; of a
    comparison the best one leads, of a sweep its leader.
    """
    metric = verdict.metric
    if metric is None or not len(means):
        return []
    name = metric.name.removeprefix("test_")
    tables = {f"{name} under {c}": own for c, own in means.groupby("condition", sort=False)}
    if f"{name} under {CORRUPTED}" in tables:
        lost = means[means.condition == CORRUPTED]
        said = f"{name} under {CORRUPTED} less that on clean images:"
        tables[said] = lost.assign(reached=lost.reached - lost.clean)
    found = {of: _figures(own, verdict) for of, own in tables.items()}
    return [Finding(of, metric.mode, figures) for of, figures in found.items() if figures]


def _corrupted(held: Table) -> Table:
    """Return the rows of the conditions that the run with most has, of runs that have all."""
    held = held.assign(condition=CORRUPTED)
    if not len(held):
        return held
    conditions = held[["called", "level", "count"]].apply(tuple, axis=1)
    own = conditions.groupby(held.folder).agg(frozenset)
    most = max(own, key=len)
    whole = own[[one >= most for one in own]].index
    return held[conditions.isin(most) & held.folder.isin(whole)]


def _figures(own: Table, verdict: Verdict) -> dict[str, list[float]]:
    """Return the figures over the shared seeds, of contenders that were judged for each."""
    table = own.pivot_table(index="seed", columns="contender", values="reached")
    table = table.reindex(verdict.comparison.seeds).dropna(axis="columns")
    names = [name for name in verdict.figures if name in table]
    if verdict.problem.study is not None and verdict.metric:
        names.sort(key=lambda name: table[name].mean(), reverse=verdict.metric.mode == "max")
    return {name: table[name].tolist() for name in names}
