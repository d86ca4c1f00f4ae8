"""Normalisation: each item divided by its norm."""

from math import prod

import torch
from torch import Tensor

from xformopt.transforms.items import TINY, at_least_float32, item_norm
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative


@transform(laws=("idempotent", "scale_invariant", "odd"))
def l1_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each item by its l1 norm.

    g ← g / max(‖g‖₁, eps)

    >>> import torch
    >>> g = torch.tensor([[1.0, -3.0]])
    >>> l1_norm.fn(g)
    >>> g
    tensor([[ 0.2500, -0.7500]])

    Source: Nesterov 1984, Minimization methods for nonsmooth convex and quasiconvex functions.
    """
    _normalize(grad, 1, eps)


@transform(laws=("idempotent", "scale_invariant", "odd"))
def l2_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each item by its Euclidean norm: the steepest direction of the l2 ball.

    g ← g / max(‖g‖₂, eps)

    >>> import torch
    >>> g = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> l2_norm.fn(g)
    >>> g
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])

    Source: Hazan et al. 2015, Beyond Convexity, arXiv:1507.02030.
    """
    _normalize(grad, 2, eps)


@transform(laws=("idempotent", "scale_invariant", "odd"))
def linf_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each item by its largest absolute entry.

    g ← g / max(‖g‖∞, eps)

    >>> import torch
    >>> g = torch.tensor([[1.0, -4.0]])
    >>> linf_norm.fn(g)
    >>> g
    tensor([[ 0.2500, -1.0000]])

    Source: Nesterov 1984, Minimization methods for nonsmooth convex and quasiconvex functions.
    """
    _normalize(grad, float("inf"), eps)


@transform(laws=("idempotent", "scale_invariant", "odd"))
def rms_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each item by its root mean square.

    g ← g / max(√mean(g²), eps)

    >>> import torch
    >>> g = torch.tensor([[3.0, -3.0, 3.0, 3.0]])
    >>> rms_norm.fn(g)
    >>> g
    tensor([[ 1., -1.,  1.,  1.]])

    Source: Zhang & Sennrich 2019, Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    size = prod(grad.shape[1:])
    grad.div_((item_norm(grad, 2) / size**0.5).clamp_min(max(eps, TINY)))


@transform(laws=("idempotent", "odd", "nonexpansive"))
def centralize(grad: Tensor) -> None:
    """Subtract from each item its mean.

    g ← g - mean(g)

    >>> import torch
    >>> g = torch.tensor([[1.0, 3.0]])
    >>> centralize.fn(g)
    >>> g
    tensor([[-1.,  1.]])

    Source: Yong et al. 2020, Gradient Centralization, arXiv:2004.01461.
    """
    grad.sub_(_mean(grad))


@transform(laws=("scale_invariant", "odd"))
def standardize(grad: Tensor, *, eps: NonNegative = 1e-12) -> None:
    """Give each item mean 0 and standard deviation 1; a constant one becomes 0.

    g ← (g - mean(g)) / (√var(g) + eps)

    >>> import torch
    >>> g = torch.tensor([[1.0, 3.0]])
    >>> standardize.fn(g)
    >>> g
    tensor([[-1.,  1.]])

    Source: Yun 2024, Mitigating Gradient Overlap in Deep Residual Networks with Gradient
    Normalization, arXiv:2410.21564.
    """
    rounding = 4 * torch.finfo(grad.dtype).eps * item_norm(grad, float("inf"))
    grad.sub_(_mean(grad))
    deviation = item_norm(grad, 2) / prod(grad.shape[1:]) ** 0.5
    grad.mul_(torch.where(deviation > rounding, 1 / (deviation + max(eps, TINY)), 0.0))


def _mean(x: Tensor) -> Tensor:
    return x.mean(tuple(range(1, x.ndim)), keepdim=True, dtype=at_least_float32(x.dtype))


def _normalize(grad: Tensor, ord: float, eps: float) -> None:
    grad.div_(item_norm(grad, ord).clamp_min(max(eps, TINY)))
