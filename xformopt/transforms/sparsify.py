"""Sparsification: entries of the gradient set to zero."""

from math import prod

import torch
from torch import Generator, Tensor

from xformopt.transforms.ranks import keep_largest, number_kept
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction


@transform(laws=("odd",), draws=lambda dq, **others: dq > 0)
def top_q(
    grad: Tensor, *, q: Fraction = 0.9, dq: Fraction = 0.0, generator: Generator | None = None
) -> None:
    """Zero the fraction `q` of each item's entries that is smallest in absolute value.

    g_i ← g_i if |g_i| is among the round((1 - q) d) largest, else 0

    With `dq > 0`, each call draws its q uniformly from [q - dq, q + dq], cut to [0, 1].

    >>> import torch
    >>> g = torch.tensor([[1.0, -4.0, 2.0, 0.5]])
    >>> top_q.fn(g, q=0.5)
    >>> g
    tensor([[ 0., -4.,  2.,  0.]])

    Source: Aji & Heafield 2017, Sparse Communication, arXiv:1704.05021.
    """
    keep_largest(grad, number_kept(_draw(q, dq, generator), prod(grad.shape[1:])))


@transform(items="entry")
def random_sparse(
    grad: Tensor, *, q: Fraction = 0.5, rescale: bool = True, generator: Generator | None = None
) -> None:
    """Zero each entry with probability `q`, and scale the others by 1 / (1 - q) if `rescale`.

    g ← g ⊙ m / (1 - q), m ~ Bernoulli(1 - q)

    >>> import torch
    >>> g = torch.ones(1, 6)
    >>> random_sparse.fn(g, q=0.5, generator=torch.Generator().manual_seed(0))
    >>> g
    tensor([[0., 2., 0., 0., 0., 2.]])

    Source: Wangni et al. 2018, Gradient Sparsification, arXiv:1710.09854.
    """
    device = generator.device if generator else grad.device
    draws = torch.rand(grad.shape, generator=generator, device=device, dtype=torch.float32)
    kept = draws >= q
    grad.mul_(kept.to(grad.device))
    if rescale and q < 1:
        grad.div_(1 - q)


def _draw(q: float, dq: float, generator: Generator | None) -> float:
    low, high = max(0.0, q - dq), min(1.0, q + dq)
    if high <= low or dq == 0.0:
        return q
    device = generator.device if generator else "cpu"
    draw = torch.rand(1, generator=generator, device=device, dtype=torch.float32)
    return float((high - low) * draw + low)
