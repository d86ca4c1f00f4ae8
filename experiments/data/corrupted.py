"""Corrupted test images of others, as CIFAR-10-C has them: a file a corruption, and the labels."""

from pathlib import Path

import numpy as np
import torch

from experiments.data.contract import Data, Images
from xformopt.refused import Refused

LABELS, SEVERITIES = "labels", 5


def names_of(folder: Path) -> list[str]:
    """Return the corruptions that a folder has, by the names of its files."""
    if not (folder / f"{LABELS}.npy").is_file():
        rule = f"a folder with `{LABELS}.npy` beside a file of images for each corruption"
        raise Refused("files", rule, str(folder))
    return sorted(path.stem for path in folder.glob("*.npy") if path.stem != LABELS)


def corrupted_size(folder: Path, name: str, data: Data) -> int:
    """Return how many images each severity has, in files that fit the data; none is read."""
    return len(_checked(folder, name, data)[0]) // SEVERITIES


def corrupted_images(folder: Path, name: str, severity: int, data: Data) -> Images:
    """Return the images of a severity: of uint8, `(5 N, H, W, C)`, the least severe first.

    They must have the shape and the classes of the data.

    Source: Hendrycks & Dietterich 2019, Benchmarking neural network robustness to common
    corruptions and perturbations, ICLR.
    """
    pixels, labels = _checked(folder, name, data)
    count = len(pixels) // SEVERITIES
    part = slice((severity - 1) * count, severity * count)
    held = torch.from_numpy(np.array(pixels[part].transpose(0, 3, 1, 2)))
    return Images(held, torch.from_numpy(labels[part].astype(np.int64)))


def _checked(folder: Path, name: str, data: Data) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = (_array(folder / f"{key}.npy") for key in (name, LABELS))
    of = f"`{folder / f'{name}.npy'}`"
    channels, height, width = data.shape
    shape = (height, width, channels)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or len(pixels) % SEVERITIES:
        wanted = f"uint8 of shape (N, {', '.join(map(str, shape))}), {SEVERITIES} severities in N"
        raise Refused(f"{of} must be {wanted}, got {pixels.dtype} of shape {pixels.shape}")
    if labels.shape != pixels.shape[:1] or not 0 <= labels.min() <= labels.max() < data.classes:
        got = f"{labels.shape[0]} from {labels.min()} to {labels.max()}"
        raise Refused(f"{of} must have a label below {data.classes} for each image, got {got}")
    each = np.asarray(labels).reshape(SEVERITIES, -1)
    if (each != each[0]).any():
        raise Refused(f"{of} must have the same labels at each of {SEVERITIES} severities")
    return pixels, labels


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Refused(f"`{path}` must be a file of an array, as `numpy.save` writes") from error
