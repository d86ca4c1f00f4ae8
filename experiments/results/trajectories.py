"""The way that the points of a toy took, in a file of its own."""

from pathlib import Path
from typing import Any

import numpy as np

NAME = "trajectories.npz"


def read(folder: Path) -> dict[str, Any] | None:
    """Return points `(T, S, 2)`, the steps of each, contour, box and minima; None without any."""
    if not (folder / NAME).exists():
        return None
    with np.load(folder / NAME) as held:
        return {name: held[name] for name in held.files}
