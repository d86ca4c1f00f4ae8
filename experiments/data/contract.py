"""What a data set is: labelled images in three parts."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xformopt.refused import Refused


@dataclass(frozen=True)
class Images:
    """Images of shape `(N, C, H, W)` as uint8, and their classes as int64, shape `(N,)`."""

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no such thing."""
        pixels, labels = self.pixels, self.labels
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise Refused(
                "`pixels` must be uint8 of shape (N, C, H, W), got "
                f"{pixels.dtype} of shape {tuple(pixels.shape)}; x in [0, 1] is (x * 255).byte()"
            )
        if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
            raise Refused(
                f"`labels` must be int64 of shape ({len(pixels)},), as many as images, got "
                f"{labels.dtype} of shape {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> "Images":
        """Return some of the images."""
        return Images(self.pixels[chosen], self.labels[chosen])

    def to(self, device: torch.device) -> "Images":
        """Return the images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A data set: `train` to train on, `valid` for every choice, `test` for one look at the end."""

    name: str
    train: Images
    valid: Images
    test: Images

    def __post_init__(self) -> None:
        """Refuse an empty part, and images of several shapes."""
        for name in ("train", "valid", "test"):
            part: Images = getattr(self, name)
            if not len(part):
                raise Refused(f"`{name}` of the data set {self.name} must hold images, got none")
            if part.pixels.shape[1:] != self.shape:
                raise Refused(
                    f"`{name}` of the data set {self.name} must hold images of the shape of those "
                    f"in `train`, {tuple(self.shape)}, got {tuple(part.pixels.shape[1:])}"
                )

    @property
    def shape(self) -> torch.Size:
        """Return the shape of an image, `(C, H, W)`."""
        return self.train.pixels.shape[1:]

    @cached_property
    def classes(self) -> int:
        """Return the number of classes."""
        return 1 + int(max(part.labels.max() for part in (self.train, self.valid, self.test)))

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Return the mean of each channel of `train`, of pixels in [0, 1]."""
        return tuple(self._scaled().mean((0, 2, 3)).tolist())

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Return the standard deviation of each channel of `train`, of pixels in [0, 1]."""
        return tuple(self._scaled().std((0, 2, 3), correction=0).clamp(min=1e-6).tolist())

    def to(self, device: torch.device) -> "Data":
        """Return the data set on a device."""
        return Data(self.name, *(part.to(device) for part in (self.train, self.valid, self.test)))

    def _scaled(self) -> Tensor:
        return self.train.pixels.float() / 255
