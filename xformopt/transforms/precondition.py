"""Adaptive scaling of the gradient by its own second moment."""

import torch
from torch import Tensor

from xformopt.transforms.items import elapsed
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Decay, Fraction, NonNegative


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


def _least(eps: float, x: Tensor) -> float:
    """Return `eps`, or the least positive number of x's dtype where `eps` would round to 0."""
    return max(eps, torch.finfo(x.dtype).tiny)
