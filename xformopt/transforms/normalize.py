"""Normalisation: each item divided by its norm."""

from torch import Tensor

from xformopt.transforms.items import TINY, item_norm
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


def _normalize(grad: Tensor, ord: float, eps: float) -> None:
    grad.div_(item_norm(grad, ord).clamp_min_(max(eps, TINY)))
