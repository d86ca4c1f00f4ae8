"""What a data set is: labelled images in three parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from experiments.data.taking import taken
from xformopt.refused import Refused

COUNTED = 2**22
"""So many pixels are counted at a time for mean and deviation."""

SAMPLED = 4096
"""The number of images that mean and deviation are of, where images are files."""


@dataclass(frozen=True)
class Images:
    """Images of shape `(N, C, H, W)` as uint8, and their classes as int64, shape `(N,)`.

    `pixels` are a tensor, or `experiments.data.taking.Files`, decoded when they are taken.
    """

    pixels: Any
    labels: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no such thing."""
        pixels, labels = self.pixels, self.labels
        if pixels.dtype != torch.uint8 or len(pixels.shape) != 4:
            raise Refused(
                "`pixels` must be uint8 of shape (N, C, H, W), got "
                f"{pixels.dtype} of shape {tuple(pixels.shape)}; x in [0, 1] is (x * 255).byte()"
            )
        if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
            raise Refused(
                f"`labels` must be int64 of shape ({pixels.shape[0]},), as many as images, got "
                f"{labels.dtype} of shape {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def part(self, chosen: Tensor) -> "Images":
        """Return some of the images."""
        pixels = self.pixels
        held = pixels[chosen] if isinstance(pixels, Tensor) else pixels.part(chosen)
        return Images(held, self.labels[chosen])

    def to(self, device: torch.device) -> "Images":
        """Return the images on a device; where it cannot hold them, as they are."""
        pixels = self.pixels
        if not isinstance(pixels, Tensor) or not _fits(pixels, device):
            return self
        return Images(pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A data set: `train` to train on, `valid` for every choice, `test` for one look at the end.

    `names` are those of the classes, where they have any.
    """

    name: str
    train: Images
    valid: Images
    test: Images
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        """Refuse an empty part, images of several shapes, and labels without class or name."""
        for name, part in self.parts.items():
            of = f"`{name}` of the data set {self.name}"
            if not len(part):
                raise Refused(f"{of} must hold images, got none")
            if part.pixels.shape[1:] != self.shape:
                raise Refused(
                    f"{of} must hold images of the shape of those in `train`, "
                    f"{tuple(self.shape)}, got {tuple(part.pixels.shape[1:])}"
                )
            if part.labels.min() < 0:
                raise Refused(
                    f"{of} must have classes from 0 on as labels, got {int(part.labels.min())}"
                )

        if not isinstance(self.names, Sequence) or isinstance(self.names, str):
            raise Refused("names", "a list of the names of the classes", self.names)
        if 0 < len(self.names) < self.classes:
            rule = f"a list of one for each of {self.classes} classes, 0 to {self.classes - 1}"
            raise Refused("names", rule, self.names)
        object.__setattr__(self, "names", tuple(map(str, self.names)))

    @property
    def parts(self) -> dict[str, Images]:
        """Return the parts by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def shape(self) -> torch.Size:
        """Return the shape of an image, `(C, H, W)`."""
        return self.train.pixels.shape[1:]

    @cached_property
    def classes(self) -> int:
        """Return the number of classes."""
        largest = max(int(part.labels.max()) for part in self.parts.values())
        return max(1 + largest, len(self.names))

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Return the mean of each channel of `train`, of pixels in [0, 1]."""
        return tuple((self._shares @ _levels()).tolist())

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Return the standard deviation of each channel of `train`, of pixels in [0, 1]."""
        mean = torch.tensor(self.mean, dtype=torch.float64)
        square = (self._shares @ _levels().square()) - mean.square()
        return tuple(square.clamp(min=0).sqrt().clamp(min=1e-6).tolist())

    def to(self, device: torch.device) -> "Data":
        """Return the data set on a device."""
        return replace(self, **{name: part.to(device) for name, part in self.parts.items()})

    @cached_property
    def _shares(self) -> Tensor:
        """Return how often each channel of `train` has each of the 256 levels, as shares."""
        train = self.train
        every = 1 if isinstance(train.pixels, Tensor) else -(-len(train) // SAMPLED)
        numbers = torch.arange(0, len(train), every, device=train.labels.device)
        orders = numbers.split(max(1, COUNTED // self.shape.numel()))
        counts = torch.zeros(self.shape[0], 256, dtype=torch.float64)
        for some, _ in taken(train.pixels, train.labels, orders):
            for channel, count in zip(some.unbind(1), counts, strict=True):
                count += torch.bincount(channel.flatten(), minlength=256).cpu()
        return counts / counts.sum(1, keepdim=True)


def _levels() -> Tensor:
    return torch.arange(256, dtype=torch.float64) / 255


def _fits(pixels: Tensor, device: torch.device) -> bool:
    """Return whether images take at most half of what is free on a device."""
    if device.type != "cuda":
        return True
    free = torch.cuda.mem_get_info(device)[0]
    return pixels.nbytes <= free / 2
