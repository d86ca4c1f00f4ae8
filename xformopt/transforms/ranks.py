"""Order within rows: sorted entries, and what is left of all but the largest.

Where the values are at hand, NumPy sorts: its vector instructions take a fraction of the time that
`torch.sort` and `torch.topk` take on a CPU. Elsewhere, and without NumPy, torch does.
"""

from math import ceil

import torch
from torch import Tensor
from torch.nn import Parameter

from xformopt.transforms.items import at_least_float32, is_at_hand

ROUNDING = 1e-12
"""What a share times a number may be too large by, since 0.55 · 100 = 55.000000000000007."""


def _has_numpy() -> bool:
    """Return whether torch can give its values to NumPy."""
    try:
        import numpy  # noqa: F401

        torch.empty(0).numpy()
    except (ImportError, RuntimeError):
        return False
    return True


HAS_NUMPY = _has_numpy()


def rank_of(q: float, length: int) -> int:
    """Return which of so many sorted entries is their q-quantile: ⌈q d⌉, and the first for 0.

    >>> rank_of(0.55, 100), rank_of(0.0, 100)
    (55, 1)
    """
    return max(1, ceil(q * length * (1 - ROUNDING)))


def number_kept(q: float, length: int) -> int:
    """Return how many of so many entries are left without the fraction q: round((1 - q) d).

    >>> number_kept(0.9, 100)
    10
    """
    return round((1 - q) * length)


def sort_rows(x: Tensor) -> Tensor:
    """Return the rows of `x`, shape `(N, d)`, each sorted from its least entry up."""
    if not _numpy_sorts(x):
        return x.sort(1).values
    ordered = x.to(at_least_float32(x.dtype), memory_format=torch.contiguous_format, copy=True)
    ordered.numpy().sort(1)
    return ordered.to(x.dtype)


def kth_largest(sizes: Tensor, k: int) -> Tensor:
    """Return the k-th largest entry of each row of sizes >= 0, shape `(N, 1)`."""
    length = sizes.shape[1]
    if k == length or not _numpy_sorts(sizes):
        return sizes.kthvalue(length - k + 1, dim=1, keepdim=True).values
    return _least_kept(sizes, k)[0].to(sizes.dtype)


def keep_largest(x: Tensor, kept: int) -> None:
    """Set the entries of each item to 0 that are not among its `kept` largest in size, in place.

    Where NumPy sorts, the first of equal entries are kept.
    """
    rows = x.flatten(1)
    if kept == 0:
        x.masked_fill_(x == x, 0)  # all but NaN
    elif not _numpy_sorts(rows):
        largest = rows.abs().contiguous().topk(kept, dim=1, sorted=False).indices
        dropped = torch.ones_like(rows, dtype=torch.bool).scatter_(1, largest, False)
        x.masked_fill_(dropped.view(x.shape), 0)
    elif kept < rows.shape[1]:
        _keep_sorted(x, rows, kept)


def _keep_sorted(x: Tensor, rows: Tensor, kept: int) -> None:
    least, tied = _least_kept(rows, kept)
    sizes = rows.abs().to(least.dtype)
    if tied.any():
        _shrink_ties(sizes, least, kept, tied)
    if float(sizes.amax()) < float("inf"):  # then products will do, which are faster than masks
        mask = torch.ge(sizes, least, out=sizes).to(x.dtype)
        x.mul_(mask.view(x.shape)).add_(0.0)  # -0 + 0 = 0
    else:
        x.masked_fill_((~(sizes >= least) & ~sizes.isnan()).view(x.shape), 0)


def _numpy_sorts(x: Tensor) -> bool:
    if not HAS_NUMPY or type(x) not in (Tensor, Parameter) or x.numel() == 0:
        return False
    return is_at_hand(x) and x.is_floating_point() and not x.requires_grad


def _shrink_ties(sizes: Tensor, least: Tensor, kept: int, tied: Tensor) -> None:
    """Set those entries to 0 that equal the least of their row, but for the first ones."""
    some, least = sizes[tied], least[tied]
    equal = some == least
    spare = kept - (some > least).sum(1, keepdim=True)
    sizes[tied] = some.masked_fill_(equal & (equal.cumsum(1) > spare), 0)


def _least_kept(x: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    from xformopt.transforms.selection import least_kept

    return least_kept(x, kept)
