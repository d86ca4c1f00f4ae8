"""Euclidean projections of each item of a parameter onto a convex set."""

import torch
from torch import Tensor

from xformopt.transforms.clip import bounds_are_ordered, clamp_each, clamp_within
from xformopt.transforms.items import TINY, at_least_float32, aten, item_norm, shrink_to_norm
from xformopt.transforms.ranks import number_kept, sort_rows
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction, NonNegative, Number, Positive


@transform(
    elementwise=True,
    foreach=clamp_each,
    laws=("idempotent", "nonexpansive"),
    check=bounds_are_ordered,
)
def box(
    param: Tensor, *, min: Number | Tensor | None = -1.0, max: Number | Tensor | None = 1.0
) -> None:
    """Project onto the box [min, max]; None leaves that side open.

    x ← min(max(x, min), max)

    >>> import torch
    >>> x = torch.tensor([[-3.0, 0.5]])
    >>> box.fn(x, min=0.0, max=1.0)
    >>> x
    tensor([[0.0000, 0.5000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    clamp_within(param, min, max)


@transform(
    elementwise=True,
    foreach=lambda params: aten._foreach_clamp_min_(params, 0),
    laws=("idempotent", "nonexpansive"),
)
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


@transform(
    elementwise=True,
    foreach=lambda params, *, radius: clamp_each(params, min=-radius, max=radius),
    laws=("idempotent", "nonexpansive", "odd"),
)
def linf_ball(param: Tensor, *, radius: NonNegative | Tensor = 1.0) -> None:
    """Project onto the l∞ ball.

    x ← min(max(x, -radius), radius)

    >>> import torch
    >>> x = torch.tensor([[-3.0, 0.5]])
    >>> linf_ball.fn(x, radius=1.0)
    >>> x
    tensor([[-1.0000,  0.5000]])

    Source: Beck 2017, First-Order Methods in Optimization, lemma 6.26.
    """
    clamp_within(param, -radius, radius)


@transform(laws=("idempotent", "nonexpansive", "odd"))
def l2_ball(param: Tensor, *, radius: NonNegative | Tensor = 1.0) -> None:
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
def l1_ball(param: Tensor, *, radius: NonNegative | Tensor = 1.0) -> None:
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
    size, radius = flat.abs(), _of_rows(radius)
    outside = size.sum(1, keepdim=True) > radius
    nearest = torch.where(outside, onto_capped_simplex(size, radius) * flat.sign(), flat)
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
    param.copy_(onto_capped_simplex(flat, total).view(param.shape))


@transform(laws=("idempotent", "nonexpansive", "odd"))
def topq_ball(param: Tensor, *, q: Fraction = 0.9, radius: NonNegative = 1.0) -> None:
    """Project onto the top-q l1 ball: the hull of radius/k · {-1, 0, 1} with k = (1 - q) d ones.

    x ← argmin ‖y - x‖₂ over ‖y‖₁ <= radius, ‖y‖∞ <= radius / k

    >>> import torch
    >>> x = torch.tensor([[3.0, -1.0, 0.25, 0.0]])
    >>> topq_ball.fn(x, q=0.5, radius=1.0)
    >>> x
    tensor([[ 0.5000, -0.5000,  0.0000,  0.0000]])

    Source: Wang & Lu 2015, Projection onto the capped simplex, arXiv:1503.01002.
    """
    flat = param.flatten(1).to(at_least_float32(param.dtype))
    cap = radius / max(1, number_kept(q, flat.shape[1]))
    size = flat.abs()
    outside = size.clamp_max(cap).sum(1, keepdim=True) > radius
    nearest = torch.where(outside, onto_capped_simplex(size, radius, cap), size.clamp_max(cap))
    param.copy_((nearest * flat.sign()).view(param.shape))


@transform(
    laws=("idempotent", "scale_invariant", "odd"),
    check=lambda radius: None if radius < float("inf") else "`radius` must be finite",
)
def l2_sphere(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Replace each item by the nearest point of the Euclidean sphere; zero stays zero.

    x ← radius · x / ‖x‖₂

    >>> import torch
    >>> x = torch.tensor([[0.3, 0.4]])
    >>> l2_sphere.fn(x, radius=5.0)
    >>> x
    tensor([[3., 4.]])

    Source: Absil et al. 2008, Optimization Algorithms on Matrix Manifolds, section 3.5.
    """
    param.mul_(radius / item_norm(param, 2).clamp_min(TINY))


def _of_rows(value: float | Tensor) -> float | Tensor:
    """Return a number as it is, one for each item as a column, `(N, 1)`."""
    return value.reshape(-1, 1) if isinstance(value, Tensor) else value


def onto_capped_simplex(x: Tensor, total: float | Tensor, cap: float = float("inf")) -> Tensor:
    """Project the rows of `x`, shape `(N, d)`, onto {0 <= y <= cap, Σ y = total}, exactly.

    y = min(max(x - θ, 0), cap), where Σ y falls piecewise linearly in θ, with kinks at the entries
    and at the entries less `cap`: they are sorted and the sum accumulated between them, in float64
    where there is one, since `cap` may be smaller than the rounding of the entries.
    """
    if cap == float("inf"):
        x = x - x.amax(1, keepdim=True)
        return (x - _threshold(x, total)).clamp_min_(0)
    x = x if x.device.type == "mps" else x.double()
    x = x - x.amax(1, keepdim=True)
    kinks, order = torch.cat([x - cap, x], 1).sort(1, descending=True)
    enters = order >= x.shape[1]
    active = torch.where(enters, 1, -1).cumsum(1)
    gained = (kinks[:, :-1] - kinks[:, 1:]) * active[:, :-1]
    sums = torch.cat([x.new_zeros(len(x), 1), gained.cumsum(1)], 1)
    segment = (sums <= total).sum(1, keepdim=True).clamp(1, kinks.shape[1]) - 1
    slope = active.gather(1, segment).clamp_min(1)
    theta = kinks.gather(1, segment) - (total - sums.gather(1, segment)) / slope
    return (x - theta).clamp(0, cap)


def _threshold(x: Tensor, total: float | Tensor) -> Tensor:
    """Return θ of the projection of the rows of `x`, shifted to a largest entry of 0."""
    descending = sort_rows(x).flip(1)
    excess = descending.cumsum(1) - total
    rank = torch.ones_like(x).cumsum(1)
    support = (descending * rank > excess).sum(1, keepdim=True).clamp_min_(1)
    return excess.gather(1, support - 1) / support
