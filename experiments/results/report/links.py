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
    logarithmic,
    picked,
    titles,
)
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender, safely

SIZES = {
    "ratio": "‖Δw‖ / ‖w‖",
    "angle": "angle of a step, degrees",
    "before": "norm before",
    "after": "norm after",
    "distance": "distance moved",
}
SHARES = {
    "changed": "share of entries changed",
    "zeros": "share of zeros after",
    "cosine": "cosine of before and after",
}
"""What each figure is called; sizes are drawn on a logarithmic scale."""
SAID = SIZES | SHARES


def links(shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give what the links of some contenders did, step by step."""
    frame: Table = pd.DataFrame([row for one in shown for row in _rows(one)])
    if not len(frame):
        return
    told = set(frame.contender)
    colored = colors([one.name for one in shown if one.name in told])
    sizes = frame[frame.figure.isin([*SIZES.values()]) & (frame["mean"] > 0)]
    shares = frame[frame.figure.isin([*SHARES.values()])]
    said = "Means over runs; a line a contender and link, dashed by link. "
    if len(sizes):
        how = "The distance moved of a link that projects is how far it projects."
        title, scale = "What links and steps do", logarithmic()
        yield _chart("links", title, said + how, sizes, colored, scale)
    if len(shares):
        how = "The share changed of a link that clips is what it clipped."
        title, scale = "What links change", alt.Scale(zero=False)
        yield _chart("shares", title, said + how, shares, colored, scale)


def _chart(key: str, title: str, caption: str, frame: Table, colored: Any, scale: Any) -> Chart:
    names = [name for name in SAID.values() if name in set(frame.figure)]
    figure, pick = choice("figure", names, "figure"), picked()
    lines = (
        base(frame)
        .transform_filter("datum.figure == figure")
        .mark_line(aria=False)
        .encode(
            x=alt.X("step:Q", title=None),
            y=alt.Y("mean:Q", title=None, scale=scale),
            color=colored,
            strokeDash=alt.StrokeDash("link:N", title="link", legend=alt.Legend(columns=1)),
            opacity=dimmed(pick),
            tooltip=["contender:N", "link:N", "step:Q", "mean:Q"],
        )
    )
    drawn = alt.layer(lines, titles("'step'", "figure")).add_params(figure, pick)
    return chart(key, title, caption, drawn)


def _rows(one: Contender) -> Iterator[dict[str, Any]]:
    """Give the mean over the runs of each figure, link and step."""
    held: dict[tuple[str, str, int], list[float]] = {}
    for path in one.runs:
        for line in safely(telemetry.read, path, []):
            whole = line["link"] == telemetry.UPDATE and line["route"]
            link = line["link"] + (f" of {line['route']}" if whole else "")
            link += f", group {line['group']}" if line["group"] else ""
            for name in SAID.keys() & line.keys():
                if line[name] is not None:
                    held.setdefault((link, name, line["step"]), []).append(line[name])
    for (link, name, step), values in sorted(held.items(), key=lambda item: item[0][2]):
        common = {"contender": one.name, "link": link, "figure": SAID[name]}
        yield {**common, "step": step, "mean": mean(values)}
