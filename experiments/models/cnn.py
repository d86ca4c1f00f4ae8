"""Convolutional networks."""

import torch
from torch import nn

from experiments import register
from xformopt.refused import Refused, check_count


@register.model
def small_cnn(shape: torch.Size, classes: int, width: int = 32) -> nn.Sequential:
    """Return two convolutions and a linear layer, for images of `shape` (C, H, W).

    >>> small_cnn(torch.Size((1, 8, 8)), 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    check_count("width", width)
    channels, height, across = shape
    return nn.Sequential(
        *_block(channels, width),
        *_block(width, 2 * width),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 2) * (across // 2), classes),
    )


@register.model
def cnn(shape: torch.Size, classes: int, width: int = 24, stages: int = 3) -> nn.Sequential:
    """Return stages of a convolution and a pooling that halves the sides, and a linear layer.

    Each stage has twice the channels of the one before, the first `width`.

    >>> cnn(torch.Size((1, 28, 28)), 10)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    channels, height, across = shape
    check_count("width", width)
    check_count("stages", stages)
    if min(height, across) < 2**stages:
        raise Refused("stages", f"few enough for images of {height} × {across}", stages)
    layers: list[nn.Module] = []
    for stage in range(stages):
        following = width * 2**stage
        convolution, *others = _block(channels, following)
        layers += [convolution, nn.MaxPool2d(2), *others]
        channels = following
    size = channels * (height >> stages) * (across >> stages)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, classes))


def _block(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
