"""How a picture is made and put into its place."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def figure(path: Path, size: tuple[float, float], panels: int = 1) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, one row of panels; save it in one move."""
    plt = pyplot()
    drawn, axes = plt.subplots(1, panels, figsize=size, squeeze=False, layout="constrained")
    try:
        yield drawn, axes[0]
        unfinished = path.with_suffix(".png.part")
        drawn.savefig(unfinished, dpi=120, format="png")
        os.replace(unfinished, path)
    finally:
        plt.close(drawn)


def pyplot() -> Any:
    """Return matplotlib's pyplot, which draws into files alone; it is slow to import."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    return plt
