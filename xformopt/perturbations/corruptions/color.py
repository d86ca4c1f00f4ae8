"""Brightness, contrast and saturation."""

import torch
from torch import Tensor

from xformopt.perturbations.corruptions.registry import COLORS, corruption

LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue look, as ITU-R BT.601 weighs them."""

BRIGHT = [0.1, 0.2, 0.3, 0.4, 0.5]
FLAT = [0.4, 0.3, 0.2, 0.1, 0.05]


def luma(images: Tensor) -> Tensor:
    """Return how bright pixels look, `(N, 1, H, W)`; without colour, the mean of the channels.

    >>> luma(torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)).flatten()
    tensor([0.5870])
    """
    if images.shape[1] != COLORS:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor(LUMA).view(-1, 1, 1)).sum(1, keepdim=True)


@corruption({32: [0.05, 0.1, 0.15, 0.2, 0.3], 64: BRIGHT, 224: BRIGHT})
def brightness(images: Tensor, added: float) -> Tensor:
    """More value at equal hue and saturation, which scales all channels alike.

    x ← x · min(v + added, 1) / v, v = max(x) over the channels; black becomes grey

    >>> brightness(torch.full((1, 1, 8, 8), 0.25), 3).unique()
    tensor([0.4000])
    """
    value = images.amax(1, keepdim=True)
    more = (value + added).clamp_max(1)
    return torch.where(value > 0, images * more / value, more)


@corruption({32: [0.75, 0.5, 0.4, 0.3, 0.15], 64: FLAT, 224: FLAT})
def contrast(images: Tensor, kept: float) -> Tensor:
    """Less contrast: each channel of an image comes near its mean m.

    x ← m + kept · (x - m)

    >>> contrast(torch.eye(8)[None, None], 2).unique()
    tensor([0.0625, 0.5625])
    """
    means = images.mean((2, 3), keepdim=True)
    return means + kept * (images - means)


@corruption({
    32: [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)],
    64: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)],
    224: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)],
}, needs_color=True)  # fmt: skip
def saturate(images: Tensor, factor: float, added: float) -> Tensor:
    """Less saturation at equal hue and value at the first two severities, more at the others.

    s ← min(factor · s + added, 1), s = 1 - min(x) / max(x) over the channels

    Grey pixels have the hue of red, as everywhere in HSV.

    >>> pink = torch.tensor([1.0, 0.8, 0.8]).view(1, 3, 1, 1).expand(-1, -1, 8, 8)
    >>> saturate(pink, 4)[0, :, 0, 0]
    tensor([1.0000, 0.5000, 0.5000])
    """
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread = value - least
    red = images.new_tensor([0.0, 1.0, 1.0]).view(-1, 1, 1)
    hue = torch.where(spread > 0, (value - images) / spread, red)
    saturation = torch.where(value > 0, spread / value, 0)
    return value * (1 - hue * (factor * saturation + added).clamp_max(1))
