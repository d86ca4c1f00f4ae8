"""A file of NumPy arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from experiments import register
from experiments.data.contract import Data, Images
from experiments.data.split import from_parts
from xformopt.refused import Refused

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y")),
    "valid": (("x_valid", "y_valid"), ("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""What the arrays of a part may be called: as Keras and as MedMNIST have them, or `x` and `y`."""

CHANNELS = (1, 3)


@register.data
def npz(
    file: str,
    name: str | None = None,
    valid: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Data:
    """Return the set of a file with `x_train` and `y_train`, and the like for valid and test.

    Images are uint8 of shape `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`, with 1 or 3 channels;
    `images` and `labels` as MedMNIST has them, or plain `x` and `y`, are read as well. What is
    missing is drawn off `train`, the shares `test` and `valid` of each class, which have `names`.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise Refused("file", "a file that is there", str(path))
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = {part: _part(arrays, keys) for part, keys in NAMES.items()}
            there = sorted(arrays)
    except Refused:
        raise
    except (BadZipFile, EOFError, TypeError, AttributeError, ValueError) as error:
        raise Refused("file", "a .npz file of arrays of numbers", str(path)) from error
    held = {part: images for part, images in parts.items() if images}
    if "train" not in held:
        wanted = " or ".join("`{}` and `{}`".format(*pair) for pair in NAMES["train"])
        raise Refused("file", f"a file with {wanted}", ", ".join(there))
    return from_parts(name or path.stem, held, valid=valid, test=test, seed=seed, names=names)


def _part(arrays: Mapping[str, Any], keys: tuple[tuple[str, str], ...]) -> Images | None:
    for images, labels in keys:
        if images in arrays and labels in arrays:
            if arrays[labels].dtype.kind not in "iu":
                raise Refused(
                    "file", f"a file with `{labels}` of integers", str(arrays[labels].dtype)
                )
            classes = torch.from_numpy(arrays[labels].astype(np.int64)).flatten()
            pixels = _channels_first(images, arrays[images])
            if len(classes) != len(pixels):
                rule = f"a file with as many `{labels}` as `{images}`, {len(pixels)}"
                raise Refused("file", rule, len(classes))
            return Images(pixels, classes)
    return None


def _channels_first(key: str, array: Any) -> Tensor:
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise Refused(
            f"`{key}` must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), got "
            f"{array.dtype} of shape {array.shape}; x in [0, 1] is (x * 255).astype('uint8')"
        )
    pixels = torch.from_numpy(array)
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.shape[1] in CHANNELS:
        return pixels
    if pixels.shape[3] in CHANNELS:
        return pixels.permute(0, 3, 1, 2).contiguous()
    raise Refused(f"`{key}` must have 1 or 3 channels, got the shape {array.shape}")
