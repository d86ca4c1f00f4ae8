"""The picture of what links and steps did, of runs that told so."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import altair as alt
import pandas as pd

from experiments.results import telemetry
from experiments.results.report.charts import (
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

SAID = {
    "ratio": "‖Δw‖ / ‖w‖",
    "angle": "angle of a step, degrees",
    "before": "norm before",
    "after": "norm after",
    "cosine": "cosine of before and after",
    "zeros": "share of zeros after",
    "changed": "share of entries changed",
    "distance": "distance moved",
}
"""What each figure is called."""
NO_FIGURE = ("step", "link", "route", "group")


def links(shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give what the links of some contenders did, step by step: a figure and a link at once."""
    frame: Table = pd.DataFrame([row for one in shown for row in _rows(one)])
    if not len(frame):
        return
    names = [name for name in SAID.values() if name in set(frame.figure)]
    figure, pick = choice("figure", names, "figure"), picked()
    drawn = (
        base(frame)
        .transform_filter("datum.figure == figure")
        .mark_line(aria=False)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False)),
            color=colors([one.name for one in shown if one.name in set(frame.contender)]),
            strokeDash=alt.StrokeDash("link:N", title="link"),
            opacity=dimmed(pick),
            tooltip=["contender:N", "link:N", "step:Q", "mean:Q"],
        )
        .add_params(figure, pick)
    )
    yield chart(
        "links",
        "What links and steps do",
        "Means over runs; a line a contender and link, dashed by link. Norms, cosine, zeros and "
        "shares are those of the gradients or weights that a link writes; the share changed of a "
        "link that clips is what it clipped, the distance moved of one that projects how far.",
        drawn,
    )


def _rows(one: Contender) -> Iterator[dict[str, Any]]:
    """Give the mean over the runs of each figure, link and step."""
    held: dict[tuple[str, str, int], list[float]] = {}
    for path in one.runs:
        for line in telemetry.read(path):
            link = line["link"] + (f", group {line['group']}" if line["group"] else "")
            link += f" of {line['route']}" if line["route"] and link == telemetry.UPDATE else ""
            for name in line.keys() - {*NO_FIGURE}:
                if line[name] is not None:
                    held.setdefault((link, name, line["step"]), []).append(line[name])
    for (link, name, step), values in sorted(held.items(), key=lambda item: item[0][2]):
        common = {"contender": one.name, "link": link, "figure": SAID[name]}
        yield {**common, "step": step, "mean": mean(values)}
