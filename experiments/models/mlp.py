"""Multilayer perceptrons."""

from collections.abc import Sequence

import torch
from torch import nn

from experiments import register
from xformopt.refused import check_count


@register.model
def mlp(
    shape: torch.Size, classes: int, hidden: Sequence[int] = (256, 256), dropout: float = 0.0
) -> nn.Sequential:
    """Return linear layers of the sizes `hidden`, with ReLU and dropout behind each.

    >>> mlp(torch.Size((1, 8, 8)), 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    for size in hidden:
        check_count("hidden", size)
    layers: list[nn.Module] = [nn.Flatten()]
    size = shape.numel()
    for following in hidden:
        layers += [nn.Linear(size, following), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        size = following
    return nn.Sequential(*layers, nn.Linear(size, classes))
