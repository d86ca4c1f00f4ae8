"""Convolutional networks."""

import torch
from torch import nn

from experiments import register


@register.model
def small_cnn(shape: torch.Size, classes: int, width: int = 32) -> nn.Sequential:
    """Return two convolutions and a linear layer, for images of `shape` (C, H, W).

    >>> small_cnn(torch.Size((1, 8, 8)), 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    channels, height, across = shape
    return nn.Sequential(
        *_block(channels, width),
        *_block(width, 2 * width),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 2) * (across // 2), classes),
    )


def _block(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
