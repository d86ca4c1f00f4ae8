"""What the transforms share: reductions over each item of a batch tensor."""

from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten
"""Torch's operators, among them the multi-tensor kernels that it does not export."""

TINY = torch.finfo(torch.float32).tiny
"""The least divisor: 2**-126, the smallest normal float32."""


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


def rounds_scalars(x: Tensor) -> bool:
    """Return whether multi-tensor products round a factor to the dtype of `x` before they use it.

    On the CPU they do, which makes each product in half precision too small or too large alike.
    """
    return x.device.type == "cpu" and x.dtype != at_least_float32(x.dtype)


def item_norm(x: Tensor, ord: float) -> Tensor:
    """Return the norm of each item of `x`, shape `(N, *d)`, as shape `(N, 1, …)`.

    Half precision is summed and returned as float32. Where powers of the entries under- or
    overflow, the item is divided by its largest entry first.
    """
    return _norm_and_largest(x, ord)[0]


def _norm_and_largest(x: Tensor, ord: float) -> tuple[Tensor, float | None]:
    """Return the norms, and the largest of them where asking for it makes no device wait."""
    dims = tuple(range(1, x.ndim))
    dtype = at_least_float32(x.dtype)
    norm = torch.linalg.vector_norm(x, ord, dims, keepdim=True, dtype=dtype)
    info = torch.finfo(norm.dtype)
    low, high = info.tiny ** (1 / ord) * 1e3, info.max ** (1 / ord) * 1e-3
    if is_at_hand(norm):
        least, most = map(float, norm.aminmax())
        if low <= least and most <= high:
            return norm, most
    extreme = (norm < low) | (norm > high)
    largest = x.abs().amax(dims, keepdim=True).to(dtype).clamp_min(TINY)
    scaled = torch.linalg.vector_norm(x / largest, ord, dims, keepdim=True, dtype=dtype)
    return torch.where(extreme, scaled * largest, norm), None


def shrink_to_norm(x: Tensor, radius: float, ord: float) -> None:
    """Scale each item of `x` whose norm exceeds `radius` down to it, in place."""
    norm, largest = _norm_and_largest(x, ord)
    if largest is None or largest > radius:
        x.mul_((radius / norm.clamp_min(TINY)).clamp_max(1.0))


def as_matrices(x: Tensor) -> Tensor:
    """Return items of shape `(N, d1, …)` as matrices `(N, d1, d2·d3·…)`; vectors get one column.

    >>> as_matrices(torch.zeros(2, 3, 4, 5)).shape, as_matrices(torch.zeros(2, 3)).shape
    (torch.Size([2, 3, 20]), torch.Size([2, 3, 1]))
    """
    return x.unsqueeze(-1) if x.ndim == 2 else x.flatten(2)


def lengths_of_rows(matrices: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, shape `(N, rows, columns)`, as `(N, rows, 1)`."""
    norms = item_norm(matrices.reshape(-1, matrices.shape[-1]), 2)
    return norms.view(*matrices.shape[:-1], 1)
