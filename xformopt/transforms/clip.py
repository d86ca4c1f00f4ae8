"""Clipping: entries or norms of the gradient held within bounds."""

from typing import Any

import torch
from torch import Tensor

from xformopt.transforms.items import TINY, at_least_float32, aten, item_norm, shrink_to_norm
from xformopt.transforms.ranks import kth_largest, rank_of
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction, NonNegative, Number, Positive, shown

Bound = float | Tensor | None


def bounds_are_ordered(min: Bound, max: Bound) -> str | None:
    """Say what is wrong with a pair of bounds, if anything is."""
    if min is None and max is None:
        return "`min` or `max` must be given, got None for both"
    exceeds: Any = min is not None and max is not None and min > max
    if bool(exceeds.any()) if isinstance(exceeds, Tensor) else exceeds:
        return f"`min` must not exceed `max`, got min={shown(min)} and max={shown(max)}"
    return None


def clamp_within(x: Tensor, min: Bound, max: Bound) -> None:
    """Clamp in place to numbers or tensors; None leaves that side open."""
    bounds: Any = (min, max)
    if any(isinstance(bound, Tensor) for bound in bounds):
        bounds = [_as_tensor(bound, x) for bound in bounds]
    x.clamp_(*bounds)


def _as_tensor(bound: Bound, like: Tensor) -> Tensor | None:
    if bound is None:
        return None
    return bound.to(like.dtype) if isinstance(bound, Tensor) else like.new_full((), bound)


def clamp_each(xs: list[Tensor], *, min: float | None, max: float | None) -> None:
    """Clamp each of several tensors in place."""
    if min is not None:
        aten._foreach_clamp_min_(xs, min)
    if max is not None:
        aten._foreach_clamp_max_(xs, max)


@transform(
    elementwise=True,
    foreach=clamp_each,
    laws=("idempotent", "nonexpansive"),
    check=bounds_are_ordered,
)
def clamp(
    grad: Tensor, *, min: Number | Tensor | None = -1.0, max: Number | Tensor | None = 1.0
) -> None:
    """Clamp each entry of the gradient to [min, max]; None leaves that side open.

    g ← min(max(g, min), max)

    >>> import torch
    >>> g = torch.tensor([[-3.0, 0.5]])
    >>> clamp.fn(g, min=-1.0, max=None)
    >>> g
    tensor([[-1.0000,  0.5000]])

    Source: Mikolov 2012, Statistical Language Models Based on Neural Networks, PhD thesis.
    """
    clamp_within(grad, min, max)


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


@transform(laws=("odd",))
def clip_quantile(grad: Tensor, *, q: Fraction = 0.99) -> None:
    """Clamp each item's entries to the q-quantile of their absolute values.

    g ← min(max(g, -t), t), t the ⌈q d⌉-th smallest |g|

    >>> import torch
    >>> g = torch.tensor([[1.0, -2.0, 3.0, -100.0]])
    >>> clip_quantile.fn(g, q=0.75)
    >>> g
    tensor([[ 1., -2.,  3., -3.]])

    Source: Seetharaman et al. 2020, AutoClip, arXiv:2007.14469, per entry instead of per step.
    """
    sizes = grad.flatten(1).abs()
    rank = rank_of(q, sizes.shape[1])
    bound = kth_largest(sizes, sizes.shape[1] - rank + 1).view(-1, *[1] * (grad.ndim - 1))
    grad.clamp_(-bound, bound)


@transform(elementwise=True, laws=("odd", "nonexpansive"))
def soft_clip(grad: Tensor, *, max: Positive = 1.0) -> None:
    """Bend each entry smoothly towards ±max.

    g ← max · tanh(g / max)

    >>> import torch
    >>> g = torch.tensor([[0.01, -100.0]])
    >>> soft_clip.fn(g)
    >>> g
    tensor([[ 0.0100, -1.0000]])

    Source: ours; Zhang et al. 2020, arXiv:1905.11881, on why clipping helps.
    """
    grad.div_(max).tanh_().mul_(max)


@transform
def adaptive_clip(
    grad: Tensor, param: Tensor, *, clipping: Positive = 0.01, eps: NonNegative = 1e-3
) -> None:
    """Scale each item whose norm exceeds a share of its parameter's norm down to that.

    g ← g · min(1, clipping · max(‖x‖₂, eps) / ‖g‖₂)

    With `param_ndim=-1` an item is a unit: what feeds one output.

    >>> import torch
    >>> g, x = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    >>> adaptive_clip.fn(g, x, clipping=0.1)
    >>> g
    tensor([[0.6000, 0.8000]])

    Source: Brock et al. 2021, High-Performance Large-Scale Image Recognition, arXiv:2102.06171.
    """
    bound = item_norm(param, 2).clamp_min_(eps).mul_(clipping)
    grad.mul_((bound / item_norm(grad, 2).clamp_min_(1e-6)).clamp_max_(1.0))


@transform(scope="optimizer")
def clip_total_norm(grads: list[Tensor], *, max_norm: NonNegative = 1.0) -> None:
    """Scale all gradients together where their common norm exceeds `max_norm`.

    g ← g · min(1, max_norm / √Σ ‖g_p‖₂²), the sum over all parameters p

    >>> import torch
    >>> grads = [torch.tensor([[3.0]]), torch.tensor([[4.0]])]
    >>> clip_total_norm.fn(grads, max_norm=1.0)
    >>> grads
    [tensor([[0.6000]]), tensor([[0.8000]])]

    Source: Pascanu et al. 2013, On the difficulty of training RNNs, arXiv:1211.5063.
    """
    total = _total_norm(grads)
    factor = (max_norm / total.clamp_min(TINY)).clamp_max(1.0)
    for grad in grads:
        grad.mul_(factor.to(grad.device))


def _total_norm(grads: list[Tensor]) -> Tensor:
    """Return √Σ ‖g‖₂²; of gradients on a device, or sharded, by torch's multi-tensor kernels."""
    compiling = torch.compiler.is_compiling()
    if not compiling and any(g.device.type != "cpu" or type(g) is not Tensor for g in grads):
        return torch.nn.utils.get_total_norm([g.to(at_least_float32(g.dtype)) for g in grads])
    norms = [item_norm(g.reshape(1, -1), 2).to(grads[0].device) for g in grads]
    return item_norm(torch.cat(norms, 1), 2).view(())
