"""What the transforms share: in which dtype to compute, and norms of the items of a batch tensor.

On the CPU `torch.linalg.vector_norm` adds entry after entry, so that its error grows with their
number, to 1e-2 for a million equal float32. Here the squares of long items are added in blocks,
and other powers by `torch.sum`, whose partial sums cascade.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten
"""Torch's operators, among them the multi-tensor kernels that it does not export."""

TINY = torch.finfo(torch.float32).tiny
"""The least divisor: 2**-126, the smallest normal float32."""

INFINITY = float("inf")

LONG = 1024
"""The most entries whose sizes torch's own norm adds, one after the other."""

BLOCK = 512
"""The entries of a block of an item, where they lie side by side; short items are not cut."""

LANES = 8
"""How many sums torch keeps of entries side by side, in the lanes of a vector; else it is one."""

SLAB = 2**20
"""The most entries whose powers are held at once on the CPU: what its caches hold."""


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float32 for half precision, else `dtype` itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def is_at_hand(x: Tensor) -> bool:
    """Return whether the values of `x` may be read: they are on the CPU, and nothing is traced."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def elapsed(step: Tensor) -> Any:
    """Return a counter as a float where it is at hand, else as a tensor, so that nothing waits."""
    if is_at_hand(step):
        return float(step)
    return step if step.device.type == "mps" else step.double()  # which has no float64


def as_weight(weight: Any, x: Tensor) -> Any:
    """Return a weight as `x.lerp_` takes it: a tensor in the dtype of `x`, a number as it is."""
    return weight.to(x.dtype) if isinstance(weight, Tensor) else weight


def rounds_scalars(x: Tensor) -> bool:
    """Return whether multi-tensor products round a factor to the dtype of `x` before they use it.

    On the CPU they do, which makes each product in half precision too small or too large alike.
    """
    return x.device.type == "cpu" and x.dtype != at_least_float32(x.dtype)


def item_norm(x: Tensor, ord: float) -> Tensor:
    """Return the norm of each item of `x`, shape `(N, *d)`, as shape `(N, 1, …)`.

    ‖x‖ = (Σ |x|^ord)^(1 / ord) for ord > 0; max |x| where it is infinite

    Half precision is summed and returned as float32. Where powers of the entries under- or
    overflow, the item is divided by its largest entry first.

    >>> item_norm(torch.tensor([[3e30, -4e30], [0.0, 0.0]]), 2)
    tensor([[5.0000e+30],
            [0.0000e+00]])
    """
    return _norm_and_largest(x, ord)[0]


def shrink_to_norm(x: Tensor, radius: float | Tensor, ord: float) -> None:
    """Scale each item of `x` whose norm exceeds `radius` down to it, in place."""
    norm, largest = _norm_and_largest(x, ord)
    if largest is None or isinstance(radius, Tensor) or not largest <= radius:
        x.mul_((radius / norm.clamp_min(TINY)).clamp_max(1.0))


def largest_entry(x: Tensor) -> Tensor:
    """Return max |x| of each item, shape `(N, *d)`, as `(N, 1, …)`, without holding |x|."""
    dims = tuple(range(1, x.ndim))
    return torch.maximum(x.amax(dims, keepdim=True), x.amin(dims, keepdim=True).neg_())


def _norm_and_largest(x: Tensor, ord: float) -> tuple[Tensor, float | None]:
    """Return the norms, and the largest of them where asking for it makes no device wait."""
    dtype = at_least_float32(x.dtype)
    if ord == INFINITY:
        norm = largest_entry(x).to(dtype)
        at_hand = is_at_hand(norm) and norm.numel()
        return norm, float(norm.amax()) if at_hand else None
    if ord not in (1, 2):
        return _scaled(x, ord, dtype), None
    norm = _of_powers(x, 1, dtype) if ord == 1 else _euclidean(x, dtype)
    low = _least_exact(x.shape, dtype) if ord == 2 else 0.0
    if is_at_hand(norm) and norm.numel():
        least, most = map(float, norm.aminmax())
        if low <= least and most < INFINITY:
            return norm, most
    scaled = _scaled(x, ord, dtype)
    return torch.where((norm < low) | (norm == INFINITY), scaled, norm), None


def _least_exact(shape: torch.Size, dtype: torch.dtype) -> float:
    """Return the norm from which on what squares lose by underflow is less than rounding."""
    info = torch.finfo(dtype)
    return (prod(shape[1:]) * info.tiny / info.eps) ** 0.5


def _scaled(x: Tensor, ord: float, dtype: torch.dtype) -> Tensor:
    """Return the norms by way of each item's entries over its largest one, which are at most 1."""
    info = torch.finfo(dtype)
    largest = largest_entry(x).to(dtype).clamp(info.tiny, info.max)
    x = x / largest
    return largest * (_euclidean(x, dtype) if ord == 2 else _of_powers(x, ord, dtype))


def _euclidean(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return Euclidean norms from the squares as they are; on the CPU in blocks."""
    length = prod(x.shape[1:])
    if length <= LANES * BLOCK or x.device.type != "cpu":
        dims = tuple(range(1, x.ndim))
        return torch.linalg.vector_norm(x, 2, dims, keepdim=True, dtype=dtype)
    rows = _as_rows(x)
    block = BLOCK if rows.stride(1) == 1 else BLOCK // LANES
    rest = length % block
    whole = rows[:, :-rest] if rest else rows
    norms = torch.linalg.vector_norm(whole.view(len(x), -1, block), 2, 2, dtype=dtype)
    if rest:
        last = torch.linalg.vector_norm(rows[:, -rest:], 2, 1, keepdim=True, dtype=dtype)
        norms = torch.cat([norms, last], 1)
    return norms.square_().sum(1).sqrt_().view(-1, *[1] * (x.ndim - 1))


def _of_powers(x: Tensor, ord: float, dtype: torch.dtype) -> Tensor:
    """Return (Σ |x|^ord)^(1 / ord) of each item; an order that rounds to 0 counts as TINY."""
    if ord == 1 and (prod(x.shape[1:]) <= LONG or x.device.type != "cpu"):
        dims = tuple(range(1, x.ndim))
        return torch.linalg.vector_norm(x, 1, dims, keepdim=True, dtype=dtype)
    ord = ord if ord > TINY else TINY
    sums = _sums(_as_rows(x), ord, dtype).view(-1, *[1] * (x.ndim - 1))
    return sums if ord == 1 else sums.pow_(1 / ord)


def _sums(rows: Tensor, ord: float, dtype: torch.dtype) -> Tensor:
    """Return Σ |x|^ord of each row, shape `(N, d)`, as `(N, 1)`, in slabs where they are many."""
    if rows.numel() <= 2 * SLAB or not is_at_hand(rows):
        powers = rows.abs().to(dtype)
        return (powers if ord == 1 else powers.pow_(ord)).sum(1, keepdim=True)
    length = rows.shape[1]
    if length > 2 * SLAB:
        return torch.cat([_sums(x, ord, dtype) for x in rows.split(SLAB, 1)], 1).sum(1, True)
    return torch.cat([_sums(x, ord, dtype) for x in rows.split(max(1, SLAB // length))])


def _as_rows(x: Tensor) -> Tensor:
    """Return items as rows, shape `(N, d)`, in the order in which their entries lie in memory."""
    if x.ndim == 2:
        return x
    dims = sorted(range(1, x.ndim), key=x.stride, reverse=True)
    return x.permute(0, *dims).flatten(1)
