"""The networks of the image tasks."""

from torch import nn


def small_cnn(channels: int, size: int, classes: int) -> nn.Sequential:
    """Return a small convolutional classifier of square `size` × `size` images.

    >>> import torch
    >>> small_cnn(1, 8, 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        *_block(channels, 32),
        *_block(32, 64),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (size // 2) ** 2, classes),
    )


def _block(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
