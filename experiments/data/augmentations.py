"""Random changes of training images, a whole batch at once, on its device.

Each is a function of images in [0, 1], shape `(N, C, H, W)`, and of a generator on their device,
from which alone it draws, so that what it does is a pure function of seed and step.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from experiments import register
from xformopt.refused import Refused, check_count

Augmentation = Callable[[Tensor, Generator], Tensor]


@register.augmentation
def crop(images: Tensor, random: Generator, *, padding: int = 4, mode: str = "reflect") -> Tensor:
    """Shift each image by up to `padding` pixels each way; what comes in is padded by `mode`.

    Source: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385.
    """
    check_count("padding", padding, least=0)
    count, _, height, width = images.shape
    if mode == "reflect" and padding >= min(height, width):
        rule = f"less than the sides of the images, {height} × {width}, where they are reflected"
        raise Refused("padding", rule, padding, "`mode=replicate` takes any")
    padded = pad(images, (padding,) * 4, mode=mode)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    down, right = _integers(2 * padding + 1, (2, count), random)
    return windows[torch.arange(count, device=images.device), :, down, right]


@register.augmentation
def flip(images: Tensor, random: Generator, *, probability: float = 0.5) -> Tensor:
    """Mirror each image, left and right, with a probability."""
    if not 0 <= probability <= 1:
        raise Refused("probability", "a number in [0, 1]", probability)
    drawn = torch.rand(len(images), 1, 1, 1, generator=random, device=images.device)
    return torch.where(drawn < probability, images.flip(3), images)


@register.augmentation
def cutout(images: Tensor, random: Generator, *, size: int = 8) -> Tensor:
    """Grey out a square of each image, whose centre is drawn; it may lie partly outside.

    Source: DeVries & Taylor 2017, arXiv:1708.04552.
    """
    check_count("size", size)
    count, _, height, width = images.shape
    if size > max(height, width):
        raise Refused("size", f"at most a side of the images, {height} × {width}", size)
    rows, columns = (
        _within(side, size, _integers(side, (count, 1), random)) for side in (height, width)
    )
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.5)


def _within(side: int, size: int, centre: Tensor) -> Tensor:
    """Return which places of a side lie in a square of that size, shape `(N, side)`."""
    place = torch.arange(side, device=centre.device)
    first = centre - size // 2
    return (place >= first) & (place < first + size)


def _integers(below: int, shape: tuple[int, ...], random: Generator) -> Tensor:
    return torch.randint(below, shape, generator=random, device=random.device)
