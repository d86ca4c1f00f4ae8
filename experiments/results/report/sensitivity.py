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


def sensitivity(problem: Problem, shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give the goal over each setting that differs and is a number, of trials if there are any."""
    frame = _points(problem.contenders)
    if problem.goal is None or not len(frame):
        return
    keys = [key for key in frame.key.unique() if frame[frame.key == key].value.nunique() > 2]
    others = "; what else was searched differs from point to point, too" if problem.study else ""
    for number, key in enumerate(keys[:MOST]):
        own = frame[frame.key == key]
        names = _names(own, shown)
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
            f"A point a run: {problem.goal.name} after the last step, where the setting is a "
            f"number. Lines join the means{others}.",
            alt.layer(line, points).add_params(pick),
        )


def _names(own: Table, shown: Sequence[Contender]) -> list[str]:
    """Return who is drawn: the contenders as all pictures have them, or what is left of names."""
    found = set(own.contender)
    named = [one.name for one in shown]
    return named if found & {*named} else own.contender.unique().tolist()[:SHOWN]


def _points(contenders: Sequence[Contender]) -> Table:
    """Return a row for each number that a finished run sets; contenders are named without it."""
    rows = []
    for contender in contenders:
        for one in (contender.tuned or contender.runs).values():
            if one.status != "finished" or one.reached() is None:
                continue
            for key, text in settings(one.overrides).items():
                value = as_value(text)
                if key != "seed" and type(value) in (int, float):
                    words = contender.name.split(" ")
                    name = " ".join(w for w in words if not w.startswith(f"{key}="))
                    row = {"contender": name or "all", "reached": one.reached(), "seed": one.seed}
                    rows.append({**row, "key": key, "value": value})
    return pd.DataFrame(rows)
