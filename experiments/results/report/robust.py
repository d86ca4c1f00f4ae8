"""Pictures of what contenders reach under attacks and on corrupted images, beside clean ones."""

from collections.abc import Iterator, Sequence

import altair as alt
import pandas as pd

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
from experiments.results.report.conditions import RUN
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender
from experiments.results.report.verdict import Verdict

CLEAN = "clean images"


def robust(
    verdict: Verdict, held: Table, means: Table, shown: Sequence[Contender]
) -> Iterator[Chart]:
    """Give the pictures of some contenders under conditions, where any were judged so."""
    names = [one.name for one in shown]
    if verdict.metric is None or not len(held):
        return
    metric, own = verdict.metric.name.removeprefix("test_"), held[held.contender.isin(names)]
    yield _against(own, means[means.contender.isin(names)], names, metric)
    if (attacks := own[own.kind == "attack"]).level.nunique() > 1:
        yield from _over_epsilon(attacks, names, metric)
    if len(corrupted := own[own.kind == "corruption"]):
        yield _corruptions(corrupted, names, metric)


def _against(own: Table, means: Table, names: list[str], metric: str) -> Chart:
    """Return a point a run: what it reaches on clean images, and under each condition."""
    each: Table = own[own.kind == "corruption"].rename(columns={"called": "condition"})
    each = each.groupby([*RUN, "condition"])[["reached", "clean"]].mean().reset_index()
    points = pd.concat([means, each]).drop(columns="folder")
    condition, pick = choice("under", points.condition.unique().tolist(), "under"), picked()
    drawn = (
        base(points)
        .transform_filter("datum.condition == under")
        .mark_point(aria=False, filled=True, size=70)
        .encode(
            x=alt.X("clean:Q", title=f"{metric} on {CLEAN}", scale=alt.Scale(zero=False)),
            y=alt.Y("reached:Q", title=metric, scale=alt.Scale(zero=False)),
            color=colors(names),
            opacity=dimmed(pick),
            tooltip=["contender:N", "clean:Q", "reached:Q", "seed:Q"],
        )
        .add_params(condition, pick)
    )
    caption = f"A point a run: {metric} of its last weights on test, on clean images and under "
    return chart("robust", "Clean and robust", f"{caption}what is chosen.", drawn)


def _over_epsilon(attacks: Table, names: list[str], metric: str) -> Iterator[Chart]:
    found, pick = attacks.called.unique().tolist(), picked()
    drawn = (
        base(attacks[["contender", "called", "level", "reached", "seed"]])
        .transform_filter("datum.called == attack")
        .encode(
            x=alt.X("level:Q", title="epsilon"),
            color=colors(names),
        )
    )
    domain = alt.Scale(zero=True)
    band = drawn.mark_area(aria=False).encode(
        y=alt.Y("min(reached):Q", title=metric, scale=domain),
        y2="max(reached):Q",
        opacity=dimmed(pick, 0.18),
    )
    line = drawn.mark_line(aria=False, point=True).encode(
        y=alt.Y("mean(reached):Q", title=metric),
        opacity=dimmed(pick),
        tooltip=["contender:N", "level:Q", "mean(reached):Q"],
    )
    params = choice("attack", found, "attack"), pick
    yield chart(
        "epsilon",
        "Over epsilon",
        f"{metric} of the last weights on test, under the attack that is chosen: lines are means, "
        "bands go from the least to the most of the runs.",
        alt.layer(band, line).add_params(*params),
    )


def _corruptions(corrupted: Table, names: list[str], metric: str) -> Chart:
    """Return a bar a contender and corruption: the mean over severities and seeds."""
    runs = corrupted.groupby(["contender", "called", "folder"]).reached.mean().reset_index()
    found = runs.groupby(["contender", "called"]).reached.agg(["mean", "min", "max"]).reset_index()
    pick = picked()
    order = found.groupby("called")["mean"].mean().sort_values().index.tolist()
    drawn = base(found, height=HEIGHT).encode(
        x=alt.X("called:N", title=None, sort=order, axis=alt.Axis(labelAngle=-50)),
        xOffset=alt.XOffset("contender:N", sort=names),
        opacity=dimmed(pick),
    )
    y = alt.Y("mean:Q", title=metric)
    bars = drawn.mark_bar(aria=False).encode(
        y=y, color=colors(names), tooltip=["contender:N", "called:N", "mean:Q", "min:Q", "max:Q"]
    )
    ends = drawn.mark_rule(aria=False, color="currentColor").encode(
        y=alt.Y("min:Q", title=metric), y2="max:Q"
    )
    drawn = chart(
        "corruptions",
        "Corruptions",
        f"{metric} of the last weights on corrupted test images, the mean over severities and "
        "runs; a line goes from the least run to the most.",
        alt.layer(bars, ends).add_params(pick),
    )
    return drawn._replace(is_wide=True)
