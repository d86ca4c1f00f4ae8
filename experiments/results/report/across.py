"""The picture of all contenders on all problems."""

from collections.abc import Iterator, Sequence
from statistics import mean

import altair as alt
import pandas as pd

from experiments.results.report.charts import Chart, base, chart
from experiments.results.report.frames import Table
from experiments.results.report.verdict import Verdict


def heat_map(verdicts: Sequence[Verdict]) -> Iterator[Chart]:
    """Give what each contender reaches on each problem, coloured by its rank there."""
    rows = [row for verdict in verdicts for row in _rows(verdict)]
    frame: Table = pd.DataFrame(rows)
    if len(verdicts) < 2 or not len(frame) or frame.contender.nunique() < 2:
        return
    order = frame.groupby("contender")["rank"].mean().sort_values().index.tolist()
    height = 40 + 28 * len(order)
    drawn = base(frame, height=height).encode(
        x=alt.X("problem:N", title=None, axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("contender:N", title=None, sort=order, axis=alt.Axis(labelLimit=320)),
    )
    scale = alt.Scale(scheme="blues", reverse=True)
    cells = drawn.mark_rect(aria=False).encode(
        color=alt.Color("rank:Q", title="rank, 1 is the best", scale=scale),
        tooltip=["contender:N", "problem:N", "reached:Q", "rank:Q"],
    )
    half = (frame["rank"].max() + 1) / 2
    ink = alt.condition(f"datum.rank < {half}", alt.value("white"), alt.value("black"))
    text = drawn.mark_text(aria=False).encode(text=alt.Text("said:N"), color=ink)
    drawn = chart(
        "heat-map",
        "Contenders and problems",
        "The mean on each problem over the seeds that all have finished; the best mean rank stands "
        "on top. Colours are ranks, not distances.",
        alt.layer(cells, text),
    )
    yield drawn._replace(is_wide=True)


def _rows(verdict: Verdict) -> Iterator[dict[str, object]]:
    if not verdict.figures or verdict.metric is None:
        return
    means = pd.Series({name: mean(values) for name, values in verdict.figures.items()})
    ranks = means.rank(ascending=verdict.metric.mode == "min")
    for name, value in means.items():
        said = f"{value:.4g}"
        yield {
            "problem": verdict.problem.name,
            "contender": name,
            "reached": value,
            "said": said,
            "rank": ranks[name],
        }
