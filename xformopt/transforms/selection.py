"""The k-th largest entry of each row, by NumPy's vectorised sorts of short blocks."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from xformopt.transforms.items import at_least_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Entries = NDArray[Any]

BLOCK = 256
"""The most entries that are sorted at once; longer rows are cut into blocks."""

SPREAD = 6
"""Standard deviations of a block's share of large entries, were they spread at random."""


def least_kept(x: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Return each row's `kept`-th largest size, shape `(N, 1)`, and which rows have others like it.

    Blocks of a long row are sorted and cut to the entries about that rank in each of them, which
    are searched for it. Rows where that rank turns out to lie elsewhere are searched as a whole.
    """
    count, length = x.shape
    parts = ceil(length / BLOCK)
    sizes = x.new_empty(count, length + -length % parts, dtype=at_least_float32(x.dtype))
    sizes[:, :length].copy_(x).abs_()
    sizes[:, length:] = -1
    rows = sizes.numpy()
    blocks = rows.reshape(count, parts, -1)
    blocks.sort(2)
    pair = rows[:, -kept - 1 :][:, :2] if parts == 1 else _search(blocks, kept, kept / length)
    before, least = torch.from_numpy(pair.copy()).split(1, 1)
    return least, ((before == least) & (least > 0)).squeeze(1)


def _search(blocks: Entries, kept: int, share: float) -> Entries:
    """Return what `_about_rank` would of whole rows, from sorted blocks `(N, parts, width)`."""
    count, parts, width = blocks.shape
    low, high = _window(share, width)
    pair = _about_rank(blocks[..., low:high].reshape(count, -1), kept - (width - high) * parts)
    elsewhere = pair[:, 1] != pair[:, 1]  # NaN, with which comparisons are False
    if low > 0:
        below = blocks[..., low - 1].max(1)
        elsewhere |= ~(below < pair[:, 1]) & ~(below <= 0)
    if high < width:
        elsewhere |= ~(blocks[..., high].min(1) >= pair[:, 1])
    if elsewhere.any():
        pair[elsewhere] = _about_rank(blocks[elsewhere].reshape(-1, parts * width), kept)
    return pair


def _window(share: float, width: int) -> tuple[int, int]:
    """Return between which ranks of a sorted block the least of the largest `share` stands."""
    spread = SPREAD * sqrt(share * (1 - share) * width)
    rank = (1 - share) * width
    return max(0, floor(rank - spread) - 1), min(width, ceil(rank + spread) + 1)


def _about_rank(rows: Entries, kept: int) -> Entries:
    """Return the entry before the `kept` largest of each row, and the least of these."""
    rows.partition((-kept - 1, -kept), 1)
    return rows[:, -kept - 1 :][:, :2]
