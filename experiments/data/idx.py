"""The idx files of MNIST and of the sets that are laid out like it."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments import register
from experiments.data.contract import Data, Images
from experiments.data.split import from_parts
from xformopt.refused import Refused

PARTS = {"train": "train", "test": "t10k"}
"""What the files of a part begin with."""


@register.data
def idx(
    root: str, name: str = "idx", valid: float = 0.1, seed: int = 0, names: Sequence[str] = ()
) -> Data:
    """Return the set whose files `train-images-idx3-ubyte`, `t10k-…`, `.gz` or not, lie in `root`.

    `valid` is the share of each class that is drawn off `train`, by `seed`; `names` are those of
    the classes.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """
    folder = Path(root).expanduser()
    parts = {
        part: Images(
            _read(folder, f"{begin}-images-idx3-ubyte")[:, None],
            _read(folder, f"{begin}-labels-idx1-ubyte").long(),
        )
        for part, begin in PARTS.items()
    }
    return from_parts(name, parts, valid=valid, seed=seed, names=names)


def _read(folder: Path, name: str) -> Tensor:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise Refused(
            "root",
            f"a folder that holds `{name}` or `{name}.gz`",
            str(folder),
            "Fashion-MNIST is in Debian's package dataset-fashion-mnist",
        )
    return read_idx(path)


def read_idx(path: Path) -> Tensor:
    """Return the bytes of an idx file, in its shape: big-endian sizes, then the bytes."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    kind, dimensions = raw[:3], raw[3] if len(raw) > 3 else 0
    shape = np.frombuffer(raw, ">i4", dimensions, 4).tolist() if len(raw) > 4 * dimensions else []
    begin = 4 + 4 * dimensions
    if kind != b"\0\0\x08" or not shape or len(raw) != begin + math.prod(shape):
        raise Refused(f"`{path}` is no idx file of bytes, or it is cut off")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=begin).reshape(shape).copy())
