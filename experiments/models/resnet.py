"""Residual networks for small images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from experiments import register
from xformopt.refused import check_count


@register.model
def resnet18(shape: torch.Size, classes: int, width: int = 64) -> nn.Sequential:
    """Return the network of 18 layers with the stem for small images: 3 × 3, no pooling.

    >>> sum(p.numel() for p in resnet18(torch.Size((3, 32, 32)), 10).parameters())
    11173962

    Source: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385.
    """
    return resnet(shape, classes, blocks=(2, 2, 2, 2), width=width)


@register.model
def resnet(
    shape: torch.Size, classes: int, blocks: Sequence[int] = (1, 1, 1), width: int = 16
) -> nn.Sequential:
    """Return a residual network of stages of so many blocks, each of twice the channels.

    All stages but the first halve the sides; `blocks=[3,3,3] width=16` are the 20 layers for
    CIFAR, but for the shortcuts, which are convolutions here.

    >>> resnet(torch.Size((1, 28, 28)), 10)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])

    Source: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385.
    """
    for key, value in (("width", width), *(("blocks", count) for count in blocks)):
        check_count(key, value)
    layers: list[nn.Module] = [*_normed(shape[0], width, 3, 1), nn.ReLU()]
    channels = width
    for stage, count in enumerate(blocks):
        following = width * 2**stage
        for block in range(count):
            layers.append(Residual(channels, following, 2 if stage and not block else 1))
            channels = following
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Residual(nn.Module):
    """Two convolutions, around which the input goes on: relu(f(x) + x)."""

    def __init__(self, channels: int, following: int, stride: int) -> None:
        """Make the two, and a shortcut where shapes differ."""
        super().__init__()
        self.residual = nn.Sequential(
            *_normed(channels, following, 3, stride),
            nn.ReLU(),
            *_normed(following, following, 3, 1),
        )
        same = stride == 1 and channels == following
        self.shortcut = (
            nn.Sequential() if same else nn.Sequential(*_normed(channels, following, 1, stride))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(f(x) + x)."""
        return (self.residual(x) + self.shortcut(x)).relu()


def _normed(channels: int, following: int, size: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, following, size, stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(following)]
