"""Pictures of how contenders were trained: curves, how soon they arrive, what their rates do."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from experiments.results.profiles import MOST, profile, ratios
from experiments.results.report import frames
from experiments.results.report.charts import (
    HEIGHT,
    Chart,
    base,
    chart,
    choice,
    colors,
    dimmed,
    picked,
)
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender
from experiments.results.report.verdict import Verdict

AXES = ("steps", "epochs", "seconds")


def curves(verdict: Verdict, shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give the learning curves of some contenders; figures of another scale than the goal apart."""
    frame: Table = frames.over_seeds(verdict.problem, shown)
    goal = verdict.problem.goal
    if goal is None or not len(frame) or frame.steps.nunique() < 2:
        return
    is_log = goal.scale == "log" and _are_positive(frame, goal.name)
    names = sorted(frame.figure.unique(), key=lambda name: name != goal.name)  # the goal first
    alike = [name for name in names if is_log == (is_log and _are_positive(frame, name))]
    colored = colors([one.name for one in shown])
    yield _curves("curves", "Learning curves", frame, alike, colored, is_log=is_log)
    if others := [name for name in names if name not in alike]:
        title = "Learning curves of other figures"
        yield _curves("other-curves", title, frame, others, colored, is_log=False)


def _are_positive(frame: Table, name: str) -> bool:
    return bool(frame[frame.figure == name].least.min() > 0)


def _curves(
    key: str, title: str, frame: Table, names: Sequence[str], colored: Any, *, is_log: bool
) -> Chart:
    frame = frame[frame.figure.isin(names)]
    axes = [axis for axis in AXES if frame[axis].notna().all()]
    figure, axis, pick = choice("figure", names, "figure"), choice("along", axes, "over"), picked()
    drawn = (
        base(frame)
        .transform_filter("datum.figure == figure")
        .transform_calculate(x="datum[along]")
        .encode(x=alt.X("x:Q", title=None), color=colored)
    )
    y = alt.Scale(type="log") if is_log else alt.Scale(zero=False)
    tips = ["contender:N", *(f"{k}:Q" for k in ("steps", "mean", "least", "most", "runs"))]
    band = drawn.mark_area(aria=False, clip=True).encode(
        y=alt.Y("least:Q", title=None, scale=y), y2="most:Q", opacity=dimmed(pick, 0.18)
    )
    line = drawn.mark_line(aria=False, point={"size": 12}).encode(
        y=alt.Y("mean:Q", scale=y), opacity=dimmed(pick), tooltip=tips
    )
    return chart(
        key,
        title,
        "Lines are means over the runs of a contender, bands go from the least to the most. Choose "
        "the figure, and what it is drawn over; a click in the legend picks lines.",
        alt.layer(band, line).add_params(figure, axis, pick),
    )


def arrival(verdict: Verdict, shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give the performance profile of steps to the target, over the seeds."""
    held = {one.name: one.to_target for one in verdict.comparison.entries}
    seeds, goal = verdict.comparison.seeds, verdict.problem.goal
    if verdict.problem.target is None or goal is None or not any(held.values()):
        return
    times = {n: [own.get(s, (np.inf, np.inf))[0] for s in seeds] for n, own in held.items()}
    factors = np.linspace(1, MOST, 61).round(3).tolist()
    names = [one.name for one in shown if one.name in held]
    rows = [
        {"contender": name, "factor": factor, "share": share}
        for name, own in ratios(times).items()
        if name in names
        for factor, share in zip(factors, profile(own, factors), strict=True)
    ]
    pick = picked()
    drawn = (
        base(pd.DataFrame(rows), height=HEIGHT * 3 // 4)
        .mark_line(aria=False, interpolate="step-after")
        .encode(
            x=alt.X("factor:Q", title="times the steps of the fastest"),
            y=alt.Y("share:Q", title="share of seeds", scale=alt.Scale(domain=[0, 1.02])),
            color=colors(names),
            opacity=dimmed(pick),
            tooltip=["contender:N", "factor:Q", "share:Q"],
        )
        .add_params(pick)
    )
    took = "; ".join(_took(name, own, len(seeds)) for name, own in held.items() if name in names)
    yield chart(
        "arrival",
        f"Steps until {goal.name} {verdict.problem.target:.4g}",
        "On which share of the seeds a contender took at most so many times the steps of the "
        f"fastest. Means, counted in evaluations: {took}.",
        drawn,
    )


def _took(name: str, own: Any, count: int) -> str:
    if not own:
        return f"{name} never"
    steps = np.mean([taken[0] for taken in own.values()])
    return f"{name} {steps:.0f}" + (f" ({len(own)} of {count} seeds)" if len(own) < count else "")
