"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from typing import Any

import torch
from torch import Tensor

from xformopt.transforms.buffers import LEFT, RIGHT
from xformopt.transforms.items import at_least_float32, elapsed, is_at_hand
from xformopt.transforms.matrices import as_matrices, eigenvectors
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Count, Decay, NonNegative

Side = tuple[Tensor, Tensor, int]
"""The moment of a side, its eigenvectors, and the dimension of a batch of matrices that it is."""


@transform(
    state={
        "first": torch.zeros_like,
        "second": torch.zeros_like,
        "left": LEFT,
        "right": RIGHT,
        "left_basis": LEFT,
        "right_basis": RIGHT,
        "step": "host_counter",
    },
    items="matrix",
    costly=True,
    standard={"betas": ("beta1", "beta2"), "eps": "eps"},
)
def soap(
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    left: Tensor,
    right: Tensor,
    left_basis: Tensor,
    right_basis: Tensor,
    step: Tensor,
    *,
    beta1: Decay = 0.95,
    beta2: Decay = 0.95,
    shampoo_beta: Decay = 0.95,
    every: Count = 10,
    eps: NonNegative = 1e-8,
) -> None:
    """Replace each item, as a matrix, by Adam's direction in the eigenbasis of its moments.

    g ← P (Pᵀ m Q / (√v + eps)) Qᵀ · √(1 - β₂ᵗ) / (1 - β₁ᵗ), v ← β₂ v + (1 - β₂) (Pᵀ g Q)²

    P and Q are eigenvectors of L ← β L + (1 - β) g gᵀ and R ← β R + (1 - β) gᵀ g, turned by one
    power iteration `every` so many steps, in a program of `torch.compile` in each. The first step
    makes them, and is none: its direction is 0. Vectors, and sides longer than 4096, have none:
    they are not turned. A side of d entries keeps 2 d² numbers.

    >>> import torch
    >>> x = torch.tensor([[[3.0, 0.0], [0.0, -2.0]]])
    >>> held = soap.fresh(x)
    >>> for _ in range(2):
    ...     g = x.clone()
    ...     soap.fn(g, *held)
    >>> g.round(decimals=4)
    tensor([[[ 1.,  0.],
             [ 0., -1.]]])

    Source: Vyas et al. 2024, SOAP, arXiv:2409.11321, algorithm 3, after its authors' code.
    """
    step.add_(1)
    x = as_matrices(grad)
    sides = [(left, left_basis, 1), (right, right_basis, 2)]
    sides = [side for side in sides if side[0].numel()]
    if is_at_hand(step) and float(step) == 1:
        _follow(x, sides, shampoo_beta)
        for moment, basis, _ in sides:
            basis.copy_(eigenvectors(moment))
        grad.mul_(0)  # what is not finite stays so
        return
    count = elapsed(step) - 1
    squares = as_matrices(second)
    first.lerp_(grad, 1 - beta1)
    squares.lerp_(_turned(x, left_basis, right_basis).square(), 1 - beta2)
    direction = _turned(as_matrices(first), left_basis, right_basis) / squares.sqrt().add(eps)
    scale = (1 - beta2**count) ** 0.5 / (1 - beta1**count)
    _follow(x, sides, shampoo_beta)
    back = _turned(direction, left_basis.mT, right_basis.mT)
    grad.copy_((back * scale).view(grad.shape))
    _refresh(count, every, squares, sides)
    second.copy_(squares.view(second.shape))


def _follow(x: Tensor, sides: list[Side], beta: float) -> None:
    """Let the moments follow, held below the largest number of their dtype."""
    wide = x.to(at_least_float32(x.dtype))
    for moment, _, dim in sides:
        rows = wide if dim == 1 else wide.mT
        largest = torch.finfo(moment.dtype).max
        followed = moment.to(wide.dtype).lerp(rows @ rows.mT, 1 - beta)
        moment.copy_(followed.clamp_(-largest, largest))


def _turned(x: Tensor, left_basis: Tensor, right_basis: Tensor) -> Tensor:
    x = left_basis.mT @ x if left_basis.numel() else x
    return x @ right_basis if right_basis.numel() else x


def _refresh(count: Any, every: int, squares: Tensor, sides: list[Side]) -> None:
    """Turn the bases towards the moments, and put v in the order of their new columns."""
    if isinstance(count, float) and count % every:
        return
    is_due = count % every == 0
    for moment, basis, dim in sides:
        product = moment @ basis
        order = (basis * product).sum(-2).argsort(-1, descending=True)
        columns = product.gather(-1, order.unsqueeze(-2).expand_as(product))
        turned = torch.linalg.qr(columns.to(at_least_float32(columns.dtype)))[0].to(basis.dtype)
        places = order.unsqueeze(3 - dim).expand_as(squares)
        _put(squares, squares.gather(dim, places), is_due)
        _put(basis, turned, is_due)


def _put(x: Tensor, new: Tensor, is_due: bool | Tensor) -> None:
    x.copy_(torch.where(is_due, new, x) if isinstance(is_due, Tensor) else new)
