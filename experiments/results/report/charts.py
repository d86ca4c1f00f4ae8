"""The pictures of a page, as Vega-Lite: each a title, what it shows, and its specification."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from experiments.results.metric import Metric
from experiments.results.report.frames import Table

HEIGHT = 320
SHOWN = 10
"""So many contenders are drawn, the best; tables and files have all."""


class Chart(NamedTuple):
    """A picture, with what it says in words."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    is_wide: bool = False


def chart(name: str, title: str, caption: str, drawn: Any) -> Chart:
    """Return a picture that follows the page's colours, and says in words what it shows."""
    themed = drawn.properties(description=f"{title}. {caption}").configure(
        background="transparent",
        font="system-ui, sans-serif",
        padding=4,
        axis=alt.AxisConfig(**_inked("label", "title", "tick", "domain"), gridColor="#88888840"),
        legend=alt.LegendConfig(
            **_inked("label", "title"), labelLimit=420, orient="bottom", symbolOpacity=1
        ),
        title=alt.TitleConfig(color="currentColor"),
        view=alt.ViewConfig(stroke=None),
    )
    with alt.data_transformers.disable_max_rows():
        return Chart(name, title, caption, themed.to_dict())


def _inked(*parts: str) -> dict[str, Any]:
    return {f"{part}Color": "currentColor" for part in parts}


def base(frame: Table, height: int = HEIGHT) -> Any:
    """Return an empty picture of a table."""
    return alt.Chart(frame).properties(width="container", height=height)


def colors(names: Sequence[str]) -> Any:
    """Return a colour for each name, the same in all pictures; a click in the legend picks some."""
    scheme = "tableau10" if len(names) <= SHOWN else "turbo"
    scale = alt.Scale(domain=[*names], scheme=scheme)
    longest = max(map(len, names), default=0)
    columns = 1 if longest > 24 else 2 if longest > 14 else 3
    return alt.Color("contender:N", scale=scale, legend=alt.Legend(columns=columns))


def picked() -> Any:
    """Return what a click in the legend picks."""
    return alt.selection_point(fields=["contender"], bind="legend")


def dimmed(pick: Any, shown: float = 1.0) -> Any:
    """Return the opacity of what is picked, and of all else."""
    return alt.condition(pick, alt.value(shown), alt.value(0.08))


def choice(name: str, options: Sequence[str], said: str) -> Any:
    """Return what is chosen of some names, by a list beside the picture."""
    bind: Any = alt.binding_select(options=[*options], name=f"{said} ")
    return alt.param(name=name, value=options[0], bind=bind)


def scale_of(metric: Metric, values: Table) -> Any:
    """Return the scale of a metric: logarithmic if it is drawn so, and its figures allow it."""
    is_log = metric.scale == "log" and len(values) and values.min() > 0
    return logarithmic() if is_log else alt.Scale(zero=False)


def logarithmic() -> Any:
    """Return a logarithmic scale that ends where the figures do."""
    return alt.Scale(type="log", nice=False)


def titles(x: str, y: str) -> Any:
    """Return the titles of axes that show what is chosen: names of parameters of the picture."""
    drawn = alt.Chart(alt.Data(values=[{}]))
    common: dict[str, Any] = {
        "aria": False,
        "fontSize": 11,
        "fontWeight": "bold",
        "color": "currentColor",
    }
    below: dict[str, Any] = {
        "x": alt.expr("width / 2"),
        "y": alt.expr("height + 34"),
        "text": alt.expr(x),
    }
    above: dict[str, Any] = {
        "x": alt.expr("0"),
        "y": alt.expr("-8"),
        "text": alt.expr(y),
        "align": "left",
    }
    return drawn.mark_text(**common, **below) + drawn.mark_text(**common, **above)
