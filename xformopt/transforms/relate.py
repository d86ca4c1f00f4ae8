"""Transforms that relate the gradient to its parameter, or to what it was before the chain."""

from math import prod

import torch
from torch import Tensor

from xformopt.transforms.items import TINY, at_least_float32, item_norm
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Positive


@transform
def trust_ratio(
    grad: Tensor,
    param: Tensor,
    *,
    coefficient: Positive = 1.0,
    max_norm: Positive = float("inf"),
    eps: NonNegative = 0.0,
) -> None:
    """Scale each item to a share of its parameter's norm; as it is where either is zero.

    g ← g · coefficient · min(‖x‖₂, max_norm) / (‖g‖₂ + eps)

    >>> import torch
    >>> g, x = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    >>> trust_ratio.fn(g, x)
    >>> g
    tensor([[6., 8.]])

    Source: You et al. 2017, LARS, arXiv:1708.03888; You et al. 2020, LAMB, arXiv:1904.00962.
    """
    length, wanted = item_norm(grad, 2), item_norm(param, 2).clamp_max_(max_norm)
    ratio = coefficient * wanted / (length + eps).clamp_min_(TINY)
    grad.mul_(torch.where((length > 0) & (wanted > 0), ratio, 1.0))


@transform
def orthogonal_to_param(grad: Tensor, param: Tensor) -> None:
    """Remove from each item its part along the parameter, and restore the item's norm.

    g ← ĝ ‖g‖₂ / ‖ĝ‖₂, ĝ = g - ⟨x, g⟩ / ‖x‖₂² · x

    >>> import torch
    >>> g, x = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    >>> orthogonal_to_param.fn(g, x)
    >>> g
    tensor([[5., 0.]])

    Source: Prieto et al. 2025, Grokking at the Edge of Numerical Stability, arXiv:2501.04697.
    """
    dtype = at_least_float32(grad.dtype)
    dims = tuple(range(1, grad.ndim))
    unit, g = param / item_norm(param, 2).clamp_min(TINY), grad.to(dtype)
    before = item_norm(g, 2)
    rest = g - (unit * g).sum(dims, keepdim=True) * unit
    after = item_norm(rest, 2)
    vanished = after <= 16 * torch.finfo(dtype).eps * before
    grad.copy_(rest * torch.where(vanished, 0.0, before / after.clamp_min(TINY)))


@transform
def cautious(grad: Tensor, raw_grad: Tensor) -> None:
    """Zero the entries whose sign the chain has turned, and scale the others up by their share.

    g ← g ⊙ m · d / (Σ m + 1), m = [g · raw > 0], where raw is the gradient before the chain

    >>> import torch
    >>> g, raw = torch.tensor([[3.0, 4.0, 1.0]]), torch.tensor([[1.0, -1.0, 1.0]])
    >>> cautious.fn(g, raw)
    >>> g
    tensor([[3., 0., 1.]])

    Source: Liang et al. 2024, Cautious Optimizers, arXiv:2411.16085, algorithm 1 with ξ = 1.
    """
    dims = tuple(range(1, grad.ndim))
    kept = (grad.sign() * raw_grad.sign() > 0).to(at_least_float32(grad.dtype))
    share = prod(grad.shape[1:]) / (kept.sum(dims, keepdim=True) + 1)
    grad.mul_(kept.mul_(share))
