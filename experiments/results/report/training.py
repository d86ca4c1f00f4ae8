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
    logarithmic,
    picked,
    titles,
)
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender
from experiments.results.report.verdict import Verdict

AXES = ("steps", "epochs", "seconds")
TAKEN = ("steps", "seconds")


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
    y = logarithmic() if is_log else alt.Scale(zero=False)
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
        alt.layer(band, line, titles("along", "figure")).add_params(figure, axis, pick),
    )


def arrival(verdict: Verdict, shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give the performance profiles of steps and seconds to the target, over the seeds."""
    held = {one.name: one.to_target for one in verdict.comparison.entries}
    seeds, goal, target = verdict.comparison.seeds, verdict.problem.goal, verdict.problem.target
    arrived = [taken for own in held.values() for taken in own.values()]
    if target is None or goal is None or len(held) < 2 or not any(step for step, _ in arrived):
        return
    names = [one.name for one in shown if one.name in held]
    frame: Table = pd.DataFrame([row for of in TAKEN for row in _profiles(held, seeds, of)])
    of, pick = choice("of", [*TAKEN], "of"), picked()
    drawn = (
        base(frame[frame.contender.isin(names)], height=HEIGHT * 3 // 4)
        .transform_filter("datum.of == of")
        .mark_line(aria=False, interpolate="step-after")
        .encode(
            x=alt.X("factor:Q", title="times what the fastest took"),
            y=alt.Y("share:Q", title="share of seeds", scale=alt.Scale(domain=[0, 1.02])),
            color=colors(names),
            opacity=dimmed(pick),
            tooltip=["contender:N", "factor:Q", "share:Q"],
        )
        .add_params(of, pick)
    )
    took = "; ".join(_took(name, own, len(seeds)) for name, own in held.items() if name in names)
    yield chart(
        "arrival",
        f"The way to {goal.name} {target:.4g}",
        "On which share of the seeds a contender took at most so many times what the fastest took. "
        f"Mean steps, counted in evaluations: {took}.",
        drawn,
    )


def _profiles(held: Any, seeds: Sequence[int], of: str) -> Iterator[dict[str, Any]]:
    """Give the points of the profiles of all contenders, of steps or of seconds."""
    never = (np.inf, np.inf)
    times = {n: [own.get(s, never)[TAKEN.index(of)] for s in seeds] for n, own in held.items()}
    factors = np.linspace(1, MOST, 61).round(3).tolist()
    for name, own in ratios(times).items():
        for factor, share in zip(factors, profile(own, factors), strict=True):
            yield {"contender": name, "of": of, "factor": factor, "share": share}


def _took(name: str, own: Any, count: int) -> str:
    if not own:
        return f"{name} never"
    steps = np.mean([taken[0] for taken in own.values()])
    return f"{name} {steps:.0f}" + (f" ({len(own)} of {count} seeds)" if len(own) < count else "")
