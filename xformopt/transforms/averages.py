"""Averages of gradients over the steps."""

import torch
from torch import Tensor

from xformopt.transforms.items import aten
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction, NonNegative

MOMENTUM = {"momentum": "decay", "nesterov": "nesterov"}


def _momentum_each(
    grads: list[Tensor], buffers: list[Tensor], *, decay: float, nesterov: bool
) -> None:
    aten._foreach_mul_(buffers, decay)
    aten._foreach_add_.List(buffers, grads)
    if nesterov:
        aten._foreach_add_(grads, buffers, alpha=decay)
    else:
        aten._foreach_copy_(grads, buffers)


@transform(state=("buffer",), elementwise=True, foreach=_momentum_each, standard=MOMENTUM)
def momentum(
    grad: Tensor, buffer: Tensor, *, decay: Fraction = 0.9, nesterov: bool = False
) -> None:
    """Replace the gradient by a decaying sum of all so far (heavy ball), or look ahead by it.

    b ← decay · b + g; g ← b, or g + decay · b with `nesterov`

    >>> import torch
    >>> g, b = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    >>> momentum.fn(g, b, decay=0.5)
    >>> g
    tensor([[2.]])

    Source: Polyak 1964; Sutskever et al. 2013, On the importance of initialization and momentum.
    """
    buffer.mul_(decay).add_(grad)
    if nesterov:
        grad.add_(buffer, alpha=decay)
    else:
        grad.copy_(buffer)


def _ema_each(grads: list[Tensor], averages: list[Tensor], *, decay: float, nesterov: bool) -> None:
    aten._foreach_lerp_(averages, grads, 1 - decay)
    if nesterov:
        aten._foreach_lerp_(grads, averages, decay)
    else:
        aten._foreach_copy_(grads, averages)


@transform(state=("average",), elementwise=True, foreach=_ema_each, standard=MOMENTUM)
def ema(grad: Tensor, average: Tensor, *, decay: Fraction = 0.9, nesterov: bool = False) -> None:
    """Replace the gradient by its exponential moving average, or look ahead by it.

    m ← decay · m + (1 - decay) g; g ← m, or decay · m + (1 - decay) g with `nesterov`

    >>> import torch
    >>> g, m = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    >>> ema.fn(g, m, decay=0.75)
    >>> g
    tensor([[0.2500]])

    Source: Jordan et al. 2024, Muon, whose momentum this is with `nesterov`.
    """
    average.lerp_(grad, 1 - decay)
    if nesterov:
        grad.lerp_(average, decay)
    else:
        grad.copy_(average)


def _lion_mix_each(
    grads: list[Tensor], averages: list[Tensor], *, beta1: float, beta2: float
) -> None:
    mixed = aten._foreach_lerp(grads, averages, beta1)
    aten._foreach_lerp_(averages, grads, 1 - beta2)
    aten._foreach_copy_(grads, mixed)


@transform(
    state=("average",),
    elementwise=True,
    foreach=_lion_mix_each,
    standard={"betas": ("beta1", "beta2")},
)
def lion_mix(
    grad: Tensor, average: Tensor, *, beta1: Fraction = 0.9, beta2: Fraction = 0.99
) -> None:
    """Mix the gradient with an average that is updated at another rate: Lion before its sign.

    g ← β₁ m + (1 - β₁) g; m ← β₂ m + (1 - β₂) g of before

    >>> import torch
    >>> g, m = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    >>> lion_mix.fn(g, m, beta1=0.5, beta2=0.75)
    >>> g, m
    (tensor([[0.5000]]), tensor([[0.2500]]))

    Source: Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675.
    """
    mixed = torch.lerp(grad, average, beta1)
    average.lerp_(grad, 1 - beta2)
    grad.copy_(mixed)


@transform(state={"average": torch.zeros_like, "step": "counter"}, items="entry")
def grokfast(
    grad: Tensor,
    average: Tensor,
    step: Tensor,
    *,
    decay: Fraction = 0.98,
    amplify: NonNegative = 2.0,
) -> None:
    """Add to the gradient its moving average, which starts at the first gradient.

    m ← decay · m + (1 - decay) g; g ← g + amplify · m

    >>> import torch
    >>> g, m = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    >>> grokfast.fn(g, m, torch.tensor(0.0))
    >>> g
    tensor([[3.]])

    Source: Lee et al. 2024, Grokfast, arXiv:2405.20233, algorithm 1.
    """
    average.copy_(torch.where(step > 0, average, grad)).lerp_(grad, 1 - decay)
    step.add_(1)
    grad.add_(average, alpha=amplify)
