"""Image files, decoded and brought to one size as they are taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xformopt.refused import Refused

MODES = {1: "L", 3: "RGB"}


def check_channels(channels: int) -> None:
    """Refuse a number of channels that no picture is brought to."""
    if channels not in MODES:
        raise Refused("channels", "1 or 3", channels)


class Files:
    """Images of shape `(N, C, size, size)` as uint8, which are read when they are taken."""

    dtype = torch.uint8

    def __init__(self, paths: Sequence[Path], size: int, channels: int, workers: int) -> None:
        """Hold the paths; `workers` processes read ahead."""
        self.paths, self.size, self.channels, self.workers = list(paths), size, channels, workers
        self.shape = torch.Size((len(self.paths), channels, size, size))

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Return some of the images, decoded; a `ValueError` names each file that cannot be."""
        read, wrong = [], []
        for path in (self.paths[number] for number in chosen.tolist()):
            try:
                read.append(self._read(path))
            except (OSError, SyntaxError, ValueError) as error:
                wrong.append(f"`{path}` ({type(error).__name__})")
        if wrong:
            raise ValueError(*wrong)
        return torch.stack(read)

    def part(self, chosen: Tensor) -> "Files":
        """Return some of the files."""
        paths = [self.paths[number] for number in chosen.tolist()]
        return Files(paths, self.size, self.channels, self.workers)

    def _read(self, path: Path) -> Tensor:
        from PIL import Image

        with Image.open(path) as image:
            return as_pixels(image, self.size, self.channels)


def as_pixels(image: Any, size: int | None, channels: int) -> Tensor:
    """Return a picture as `(C, H, W)`; with a size its shorter side is that, the middle is kept."""
    from PIL import Image, ImageOps

    image = _of_8_bit(image).convert(MODES[channels])
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.view(*pixels.shape[:2], channels).permute(2, 0, 1).contiguous()


def _of_8_bit(image: Any) -> Any:
    """Return a picture of grey levels up to 65535 by 256 levels, which PIL would cut off."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("grey levels that are fractions have no scale")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError("grey levels must be of 16 bit")
    return Image.fromarray((levels / 257).round().astype(np.uint8))
