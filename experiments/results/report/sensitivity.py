"""Pictures of what a setting that is a number does to each contender, as a learning rate."""

from collections.abc import Iterator, Sequence

import altair as alt
import pandas as pd

from experiments.results.report.charts import (
    HEIGHT,
    SHOWN,
    Chart,
    base,
    chart,
    colors,
    dimmed,
    picked,
    scale_of,
)
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender, Problem
from experiments.results.swept import as_value, settings

WIDE = 5
"""Settings that span so many times the least are drawn on a logarithmic axis."""
MOST = 4
"""So many settings are drawn."""


def sensitivity(problem: Problem) -> Iterator[Chart]:
    """Give the goal over each setting that differs and is a number, of trials if there are any."""
    frame = _points(problem.contenders)
    if problem.goal is None or not len(frame):
        return
    keys = [key for key in frame.key.unique() if frame[frame.key == key].value.nunique() > 2]
    for number, key in enumerate(keys[:MOST]):
        own = frame[frame.key == key]
        names = own.contender.unique().tolist()[:SHOWN]
        own = own[own.contender.isin(names)]
        pick = picked()
        low, high = own.value.min(), own.value.max()
        scale = alt.Scale(type="log") if 0 < WIDE * low <= high else alt.Scale(zero=False)
        drawn = base(own, height=HEIGHT * 3 // 4).encode(
            x=alt.X("value:Q", title=key, scale=scale), color=colors(names)
        )
        y = alt.Y("reached:Q", title=problem.goal.name, scale=scale_of(problem.goal, own.reached))
        tips = ["contender:N", alt.Tooltip("value:Q", title=key), "reached:Q", "seed:Q"]
        points = drawn.mark_point(aria=False, filled=True, size=45).encode(
            y=y, opacity=dimmed(pick), tooltip=tips
        )
        means = alt.Y("mean(reached):Q", title=problem.goal.name)
        line = drawn.mark_line(aria=False).encode(y=means, opacity=dimmed(pick, 0.5))
        yield chart(
            f"sensitivity-{number}",
            f"What {key} does",
            f"A point a run: {problem.goal.name} after the last step. Lines join the means; what "
            "else was searched differs from point to point, too.",
            alt.layer(line, points).add_params(pick),
        )


def _points(contenders: Sequence[Contender]) -> Table:
    """Return a row for each number that a finished run sets; contenders are named without them."""
    rows = []
    for contender in contenders:
        for one in (contender.tuned or contender.runs).values():
            held = {k: as_value(v) for k, v in settings(one.overrides).items() if k != "seed"}
            numbers = {k: v for k, v in held.items() if type(v) in (int, float)}
            if one.status != "finished" or one.reached() is None:
                continue
            words = contender.name.split(" ")
            name = " ".join(w for w in words if w.partition("=")[0] not in numbers)
            common = {"contender": name, "reached": one.reached(), "seed": one.seed}
            rows += [{**common, "key": key, "value": value} for key, value in numbers.items()]
    return pd.DataFrame(rows)
