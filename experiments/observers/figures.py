"""How a picture is made and put into its place."""

import logging
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.results.folder import aside

LETTERS = 108
"""So many letters of one point fit into an inch."""


@contextmanager
def figure(path: Path, size: tuple[float, float], panels: int = 1) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, one row of panels; save it in one move."""
    with grid(path, 1, panels, size) as made:
        yield made


@contextmanager
def grid(
    path: Path, rows: int, columns: int, size: tuple[float, float] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, row by row; save it in one move."""
    plt = pyplot()
    size = size or (1.4 * columns, 1.65 * rows + 0.5)
    drawn, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    try:
        yield drawn, axes.flatten()
        with aside(path) as unfinished:
            drawn.savefig(unfinished, dpi=120, format="png")
    finally:
        plt.close(drawn)


def show_image(axis: Any, image: Tensor) -> None:
    """Show an image, shape `(C, H, W)`: in colours where it has three channels, else their mean."""
    if len(image) == 3:
        axis.imshow(image.permute(1, 2, 0).numpy())
    else:
        axis.imshow(image.float().mean(0).numpy(), cmap="gray", vmin=0, vmax=255)


def class_name(number: int, names: Sequence[str]) -> str:
    """Return what a class is called, or its number.

    >>> class_name(1, ["cat", "dog"]), class_name(2, ["cat", "dog"])
    ('dog', '2')
    """
    return names[number] if number < len(names) else str(number)


def wrapped(title: str, drawn: Any, size: int = 12) -> str:
    """Return a title in as many lines as it needs in a figure, of like lengths."""
    most = int(LETTERS / size * drawn.get_figwidth())
    lines = len(textwrap.wrap(title, most))
    least = next(n for n in range(1, most + 1) if len(textwrap.wrap(title, n)) <= lines)
    return textwrap.fill(title, least)


def palette(count: int) -> list[Any]:
    """Return so many colours that differ."""
    shades = pyplot().get_cmap("tab10" if count <= 10 else "turbo")
    return [shades(i if count <= 10 else i / (count - 1)) for i in range(count)]


def pyplot() -> Any:
    """Return matplotlib's pyplot, which draws into files alone; it is slow to import."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    return plt
