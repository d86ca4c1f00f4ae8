"""Euclidean projections of each item of a parameter onto a convex set."""

import torch
from torch import Tensor

from xformopt.transforms.clip import bounds_are_ordered
from xformopt.transforms.items import at_least_float32, shrink_to_norm
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Number, Positive


@transform(elementwise=True, laws=("idempotent", "nonexpansive"), check=bounds_are_ordered)
def box(param: Tensor, *, min: Number | None = -1.0, max: Number | None = 1.0) -> None:
    """Project onto the box [min, max]; None leaves that side open.

    x ← min(max(x, min), max)

    >>> import torch
    >>> x = torch.tensor([[-3.0, 0.5]])
    >>> box.fn(x, min=0.0, max=1.0)
    >>> x
    tensor([[0.0000, 0.5000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    param.clamp_(min, max)


@transform(elementwise=True, laws=("idempotent", "nonexpansive"))
def nonnegative(param: Tensor) -> None:
    """Project onto the nonnegative orthant.

    x ← max(x, 0)

    >>> import torch
    >>> x = torch.tensor([[-3.0, 0.5]])
    >>> nonnegative.fn(x)
    >>> x
    tensor([[0.0000, 0.5000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    param.clamp_min_(0)


@transform(elementwise=True, laws=("idempotent", "nonexpansive", "odd"))
def linf_ball(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Project onto the l∞ ball.

    x ← min(max(x, -radius), radius)

    >>> import torch
    >>> x = torch.tensor([[-3.0, 0.5]])
    >>> linf_ball.fn(x, radius=1.0)
    >>> x
    tensor([[-1.0000,  0.5000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    param.clamp_(-radius, radius)


@transform(laws=("idempotent", "nonexpansive", "odd"))
def l2_ball(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Project each item onto the Euclidean ball.

    x ← x · min(1, radius / ‖x‖₂)

    >>> import torch
    >>> x = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> l2_ball.fn(x, radius=1.0)
    >>> x
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    shrink_to_norm(param, radius, 2)


@transform(laws=("idempotent", "nonexpansive", "odd"))
def l1_ball(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Project each item onto the l1 ball, by sorting its absolute values.

    x ← argmin ‖y - x‖₂ over ‖y‖₁ <= radius = sign(x) max(|x| - θ, 0)

    >>> import torch
    >>> x = torch.tensor([[3.0, -1.0, 0.0]])
    >>> l1_ball.fn(x, radius=3.0)
    >>> x
    tensor([[ 2.5000, -0.5000,  0.0000]])

    Source: Duchi et al. 2008, Efficient projections onto the l1-ball, ICML, fig. 1.
    """
    flat = param.flatten(1).to(at_least_float32(param.dtype))
    size = flat.abs()
    outside = size.sum(1, keepdim=True) > radius
    nearest = torch.where(outside, _onto_simplex(size, radius) * flat.sign(), flat)
    param.copy_(nearest.view(param.shape))


@transform(laws=("idempotent", "nonexpansive"))
def simplex(param: Tensor, *, total: Positive = 1.0) -> None:
    """Project each item onto the simplex of nonnegative entries that sum to `total`.

    x ← argmin ‖y - x‖₂ over y >= 0, Σ y = total = max(x - θ, 0)

    >>> import torch
    >>> x = torch.tensor([[0.8, 0.6, -1.0]])
    >>> simplex.fn(x)
    >>> x
    tensor([[0.6000, 0.4000, 0.0000]])

    Source: Duchi et al. 2008, Efficient projections onto the l1-ball, ICML, fig. 1.
    """
    flat = param.flatten(1).to(at_least_float32(param.dtype))
    param.copy_(_onto_simplex(flat, total).view(param.shape))


def _onto_simplex(x: Tensor, total: float) -> Tensor:
    """Project the rows of `x`; shifted by their largest entry, so that large ones keep `total`."""
    x = x - x.amax(1, keepdim=True)
    descending = x.sort(1, descending=True).values
    excess = descending.cumsum(1) - total
    rank = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    support = (descending * rank > excess).sum(1, keepdim=True).clamp_min_(1)
    threshold = excess.gather(1, support - 1) / support
    return (x - threshold).clamp_min_(0)
