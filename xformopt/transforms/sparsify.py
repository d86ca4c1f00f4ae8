"""Sparsification: entries of the gradient set to zero."""

from math import prod

import torch
from torch import Generator, Tensor

from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction


@transform(laws=("odd",))
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
    kept = round((1.0 - _draw(q, dq, generator)) * prod(grad.shape[1:]))
    flat = grad.flatten(1)
    largest = flat.abs().contiguous().topk(kept, dim=1).indices
    dropped = torch.ones_like(flat, dtype=torch.bool).scatter_(1, largest, False)
    grad.masked_fill_(dropped.view(grad.shape), 0)


def _draw(q: float, dq: float, generator: Generator | None) -> float:
    low, high = max(0.0, q - dq), min(1.0, q + dq)
    if high <= low or dq == 0.0:
        return q
    device = generator.device if generator else "cpu"
    return float((high - low) * torch.rand(1, generator=generator, device=device) + low)
