"""Clipping: entries or norms of the gradient held within bounds."""

from torch import Tensor

from xformopt.transforms.items import shrink_to_norm
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Number, Positive


def bounds_are_ordered(min: float | None, max: float | None) -> str | None:
    """Say what is wrong with a pair of bounds, if anything is."""
    if min is None and max is None:
        return "`min` or `max` must be given, got None for both"
    if min is not None and max is not None and min > max:
        return f"`min` must not exceed `max`, got min={min} and max={max}"
    return None


@transform(elementwise=True, laws=("idempotent", "nonexpansive"), check=bounds_are_ordered)
def clamp(grad: Tensor, *, min: Number | None = -1.0, max: Number | None = 1.0) -> None:
    """Clamp each entry of the gradient to [min, max]; None leaves that side open.

    g ← min(max(g, min), max)

    >>> import torch
    >>> g = torch.tensor([[-3.0, 0.5]])
    >>> clamp.fn(g, min=-1.0, max=None)
    >>> g
    tensor([[-1.0000,  0.5000]])

    Source: Mikolov 2012, Statistical Language Models Based on Neural Networks, PhD thesis.
    """
    grad.clamp_(min, max)


@transform(laws=("idempotent", "odd"))
def clip_norm(grad: Tensor, *, max_norm: NonNegative = 1.0, ord: Positive = 2.0) -> None:
    """Scale each item whose norm exceeds `max_norm` down to it.

    g ← g · min(1, max_norm / ‖g‖)

    >>> import torch
    >>> g = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> clip_norm.fn(g, max_norm=1.0)
    >>> g
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Source: Pascanu et al. 2013, On the difficulty of training RNNs, arXiv:1211.5063.
    """
    shrink_to_norm(grad, max_norm, ord)
