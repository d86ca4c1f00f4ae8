"""The picture of points that move over the contour of their function."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from experiments.results import trajectories
from experiments.results.report.charts import Chart, chart
from experiments.results.report.frames import Table
from experiments.results.report.reading import Contender, Problem, safely

FRAMES, POINTS, PANELS, SIDE = 60, 32, 6, 260
"""So many frames of so many points, in so many panels of a size in pixels."""


def moving(problem: Problem, shown: Sequence[Contender]) -> Iterator[Chart]:
    """Give a panel a contender, of its first seed: where its points are, frame by frame."""
    found = {one.name: held for one in shown if (held := _held(one))}
    held = dict([*found.items()][:PANELS])
    if not held:
        return
    steps = max(int(one["steps"][-1]) for one in held.values())
    first = next(iter(held.values()))
    low, high = map(float, first["box"])
    frame: Table = pd.concat([_points(name, one, steps) for name, one in held.items()])
    last = int(frame.frame.max())
    now = alt.param(
        name="frame",
        value=last,
        bind=alt.binding_range(min=0, max=last, step=1, name="frame "),
    )
    minima = pd.DataFrame(first["minima"], columns=["x", "y"])
    panels = [
        alt.layer(
            _contour(first["contour"], low, high),
            _marks(frame[frame.contender == name], low, high),
            alt.Chart(minima)
            .mark_point(shape="cross", size=120, color="black", strokeWidth=2, aria=False)
            .encode(x="x:Q", y="y:Q"),
        ).properties(width=SIDE, height=SIDE, title=alt.TitleParams(name, limit=SIDE))
        for name in held
    ]
    drawn = chart(
        "moving",
        "Points on their way",
        f"{min(POINTS, first['points'].shape[1])} starts of one seed over {steps} steps, frame by "
        "frame; orange: the way, red: now, crosses: minima, dark: low values (logarithmic). "
        "Press play, or move the slider.",
        alt.concat(*panels, columns=3).add_params(now),
    )
    yield drawn._replace(is_wide=True)


def _held(one: Contender) -> dict[str, Any] | None:
    """Return the way of the points of the first run that has it."""
    own = (safely(trajectories.read, path, None) for path in one.finished.values())
    return next((held for held in own if held), None)


def _points(name: str, held: Any, last: int) -> Table:
    """Return where points are, at frames that lie evenly on a logarithmic scale of steps."""
    steps, points = held["steps"], held["points"][:, :POINTS]
    wanted = np.geomspace(1, last + 1, FRAMES) - 1
    taken = np.searchsorted(steps, wanted.round()).clip(max=len(steps) - 1)
    xy = points[taken].astype(float).round(4)
    frames, starts = np.meshgrid(np.arange(len(taken)), np.arange(xy.shape[1]), indexing="ij")
    flat = {"frame": frames.ravel(), "start": starts.ravel(), "step": steps[taken][frames].ravel()}
    return pd.DataFrame(
        {**flat, "x": xy[..., 0].ravel(), "y": xy[..., 1].ravel(), "contender": name}
    )


def _marks(own: Table, low: float, high: float) -> Any:
    scale = alt.Scale(domain=[low, high], nice=False)
    drawn = alt.Chart(own).encode(
        x=alt.X("x:Q", title="x₁", scale=scale), y=alt.Y("y:Q", title="x₂", scale=scale)
    )
    way = (
        drawn.transform_filter("datum.frame <= frame")
        .mark_line(color="#e8833a", strokeWidth=1, clip=True, aria=False)
        .encode(detail="start:N", order="frame:Q")
    )
    now = (
        drawn.transform_filter("datum.frame == frame")
        .mark_circle(color="#c8102e", size=28, clip=True, opacity=1, aria=False)
        .encode(tooltip=["step:Q", "x:Q", "y:Q"])
    )
    return alt.layer(way, now)


def _contour(values: np.ndarray, low: float, high: float) -> Any:
    """Return the function as a picture of its levels."""
    middle = pd.DataFrame(
        {"url": [_as_url(values)], "x": [(low + high) / 2], "y": [(low + high) / 2]}
    )
    return (
        alt.Chart(middle)
        .mark_image(width=SIDE, height=SIDE, aspect=False, aria=False)
        .encode(x="x:Q", y="y:Q", url="url:N")
    )


def _as_url(values: np.ndarray) -> str:
    from matplotlib.image import imsave

    file = BytesIO()
    imsave(file, values, cmap="Blues_r", origin="lower", format="png")
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
