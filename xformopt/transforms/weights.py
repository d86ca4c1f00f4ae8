"""Post-step transforms that average or coarsen the weights."""

import torch
from torch import Tensor

from xformopt.transforms.items import (
    TINY,
    as_weight,
    at_least_float32,
    elapsed,
    is_at_hand,
    largest_entry,
)
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Count, Fraction


@transform(
    state={"average": torch.zeros_like, "step": "counter"}, items="entry", averages="average"
)
def param_ema(param: Tensor, average: Tensor, step: Tensor, *, decay: Fraction = 0.999) -> None:
    """Keep an average of the parameter in the state, and leave the parameter as it is.

    m ← m + (1 - decay) / (1 - decayᵗ) · (x - m), an unbiased exponential average

    It stands in `optimizer.state[p]["param_ema"]["average"]`; see `xformopt.optim.averages`.

    >>> import torch
    >>> x, m = torch.tensor([[3.0]]), torch.zeros(1, 1)
    >>> param_ema.fn(x, m, torch.tensor(0.0))
    >>> m
    tensor([[3.]])

    Source: Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging.
    """
    step.add_(1)
    count = elapsed(step)
    weight = (1 - decay) / (1 - decay**count) if decay < 1 else 1 / count
    average.lerp_(param, as_weight(weight, average))


@transform(state={"slow": torch.clone, "step": "counter"}, items="entry", averages="slow")
def lookahead(
    param: Tensor, slow: Tensor, step: Tensor, *, every: Count = 5, alpha: Fraction = 0.5
) -> None:
    """Every few steps, go back part of the way to slow weights, which follow.

    every k-th step: s ← s + alpha (x - s); x ← s

    >>> import torch
    >>> x, s = torch.tensor([[4.0]]), torch.tensor([[0.0]])
    >>> lookahead.fn(x, s, torch.tensor(4.0), every=5)
    >>> x
    tensor([[2.]])

    Source: Zhang et al. 2019, Lookahead Optimizer, arXiv:1907.08610.
    """
    step.add_(1)
    if not is_at_hand(step):
        is_due = step % every == 0
        slow.copy_(torch.where(is_due, slow.lerp(param, alpha), slow))
        param.copy_(torch.where(is_due, slow, param))
    elif float(step) % every == 0:
        slow.lerp_(param, alpha)
        param.copy_(slow)


@transform(laws=("idempotent", "odd"))
def quantize(param: Tensor, *, bits: Count = 8) -> None:
    """Round each item to 2^bits - 1 levels, evenly spaced up to its largest absolute entry.

    x ← s · round(x / s), s = max|x| / (2^(bits - 1) - 1), or ±max|x| for one bit

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.4, -0.1]])
    >>> quantize.fn(x, bits=2)
    >>> x
    tensor([[1., 0., 0.]])

    Source: Hubara et al. 2018, Quantized Neural Networks, arXiv:1609.07061.
    """
    x = param.to(at_least_float32(param.dtype))
    largest = largest_entry(x)
    if bits == 1:
        param.copy_(largest * x.sign())
        return
    spacing = (largest / (2.0 ** (min(bits, 64) - 1) - 1)).clamp_min_(TINY)
    param.copy_((x / spacing).round_().mul_(spacing).add_(0.0))
