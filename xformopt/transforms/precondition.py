"""Adaptive scaling of the gradient by its own second moment."""

from math import e, log
from typing import Any

import torch
from torch import Tensor

from xformopt.transforms.buffers import ROWS
from xformopt.transforms.items import TINY, as_weight, elapsed, item_norm
from xformopt.transforms.matrices import as_matrices
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Count, Decay, Fraction, NonNegative


@transform(
    state={"first": torch.zeros_like, "second": torch.zeros_like, "step": "counter"},
    items="entry",
    standard={"betas": ("beta1", "beta2"), "eps": "eps"},
)
def adam(
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    step: Tensor,
    *,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    debias: bool = True,
) -> None:
    """Replace the gradient by Adam's direction.

    m ← β₁ m + (1 - β₁) g; v ← β₂ v + (1 - β₂) g²; g ← m̂ / (√v̂ + eps), where m̂ = m / (1 - β₁ᵗ)
    and v̂ = v / (1 - β₂ᵗ) with `debias`, else m and v themselves

    >>> import torch
    >>> g, m, v = torch.tensor([[-3.0]]), torch.zeros(1, 1), torch.zeros(1, 1)
    >>> adam.fn(g, m, v, torch.tensor(0.0))
    >>> g.round(decimals=4)
    tensor([[-1.]])

    Source: Kingma & Ba 2015, Adam, arXiv:1412.6980, algorithm 1.
    """
    step.add_(1)
    first.lerp_(grad, 1 - beta1)
    second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    count = elapsed(step)
    correction1 = 1 - beta1**count if debias else 1.0
    correction2 = 1 - beta2**count if debias else 1.0
    denominator = second.sqrt().div_(correction2**0.5).add_(_least(eps, grad))
    grad.copy_(first).div_(denominator.mul_(correction1))


@transform(state=("second",), items="entry", standard={"alpha": "decay", "eps": "eps"})
def rms(grad: Tensor, second: Tensor, *, decay: Fraction = 0.99, eps: NonNegative = 1e-8) -> None:
    """Divide the gradient by the root of its moving mean square.

    v ← decay · v + (1 - decay) g²; g ← g / (√v + eps)

    >>> import torch
    >>> g, v = torch.tensor([[-3.0]]), torch.zeros(1, 1)
    >>> rms.fn(g, v, decay=0.75)
    >>> g
    tensor([[-2.]])

    Source: Tieleman & Hinton 2012, RMSProp, lecture 6.5.
    """
    second.mul_(decay).addcmul_(grad, grad, value=1 - decay)
    grad.div_(second.sqrt().add_(_least(eps, grad)))


@transform(
    state={
        "fast": torch.zeros_like,
        "slow": torch.zeros_like,
        "second": torch.zeros_like,
        "step": "counter",
    },
    items="entry",
    standard={"betas": ("beta1", "beta2", "beta3"), "eps": "eps"},
)
def ademamix(
    grad: Tensor,
    fast: Tensor,
    slow: Tensor,
    second: Tensor,
    step: Tensor,
    *,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    beta3: Decay = 0.9999,
    alpha: NonNegative = 5.0,
    warmup: Count = 1,
    eps: NonNegative = 1e-8,
) -> None:
    """Replace the gradient by Adam's direction with a second, slower average mixed in.

    g ← (m̂ + alpha · s) / (√v̂ + eps), m and v as Adam has them, s ← β₃ s + (1 - β₃) g

    Over the first `warmup` steps alpha grows from 0, and the half-life of s from that of m.

    >>> import torch
    >>> g, m, s, v = torch.tensor([[-3.0]]), *torch.zeros(3, 1, 1)
    >>> ademamix.fn(g, m, s, v, torch.tensor(0.0), beta3=0.5, alpha=2.0)
    >>> g.round(decimals=4)
    tensor([[-2.]])

    Source: Pagliardini et al. 2024, The AdEMAMix Optimizer, arXiv:2409.03137, algorithm 1.
    """
    step.add_(1)
    count = elapsed(step)
    share = _at_most_1(count / warmup)
    fast.lerp_(grad, 1 - beta1)
    slow.lerp_(grad, as_weight(1 - _slower(beta1, beta3, share), slow))
    second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = second.sqrt().div_((1 - beta2**count) ** 0.5).add_(_least(eps, grad))
    grad.copy_((fast / (1 - beta1**count) + alpha * share * slow).div_(denominator))


@transform(state={"second": ROWS}, items="matrix", laws=("odd",))
def row_rms(
    grad: Tensor, second: Tensor, *, decay: Fraction = 0.95, eps: NonNegative = 1e-10
) -> None:
    """Divide each row of each item, as a matrix, by the root of its moving mean square.

    g_i ← c · g_i / (√v_i + eps), v_i ← decay · v_i + (1 - decay) mean_j g_ij²

    c gives the item the norm back that it had.

    >>> import torch
    >>> g, v = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 1)
    >>> row_rms.fn(g, v)
    >>> g.square().sum(2)
    tensor([[13.0000, 13.0000]])

    Source: Li et al. 2025, NorMuon, arXiv:2510.05491, after its authors' code.
    """
    before, mean = item_norm(grad, 2), as_matrices(grad).square().mean(2)
    mean.clamp_max_(torch.finfo(mean.dtype).max)
    second.mul_(decay).add_(mean.view(second.shape), alpha=1 - decay)
    grad.div_(second.sqrt().add_(_least(eps, grad)))
    after = item_norm(grad, 2)
    grad.mul_(torch.where(after > 0, before / after.clamp_min(TINY), 0.0))


def _slower(beta1: float, beta3: float, share: Any) -> Any:
    """Return the decay whose half-life is a share of the way from that of β₁ to that of β₃."""
    if beta1 == 0 or beta3 == 0:
        return beta3
    fast, slow = log(beta1), log(beta3)
    return e ** (fast * slow / ((1 - share) * slow + share * fast))


def _at_most_1(x: Any) -> Any:
    return x.clamp_max(1) if isinstance(x, Tensor) else min(x, 1.0)


def _least(eps: float, x: Tensor) -> float:
    """Return `eps`, or the least positive number of x's dtype where `eps` would round to 0."""
    return max(eps, torch.finfo(x.dtype).tiny)
