"""The one place that reshapes: tensors seen as batches of items."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor

from xformopt.refused import Refused
from xformopt.transforms.buffers import Shape
from xformopt.transforms.link import check_param_ndim


def item_ndim(shape: torch.Size, param_ndim: int | None, strict_ndim: bool = True) -> int:
    """Return how many trailing dimensions of `shape` make one item; see `to_batch`."""
    check_param_ndim(param_ndim)
    ndim = len(shape)
    if param_ndim is None:
        return ndim
    if abs(param_ndim) > ndim:
        if not strict_ndim:
            return ndim
        says = (
            f"`param_ndim={param_ndim}` needs at least {abs(param_ndim)} dimensions, got a "
            f"parameter of shape {tuple(shape)}; give it a group with another `param_ndim`, or "
            "pass `strict_ndim=False` to take such parameters as one whole item"
        )
        raise Refused("param_ndim", value=param_ndim, says=says)
    return param_ndim if param_ndim >= 0 else ndim + param_ndim


def batch_shape(
    shape: torch.Size, param_ndim: int | None, strict_ndim: bool = True
) -> tuple[int, ...]:
    """Return the shape `(N, *d)` in which a tensor of `shape` is seen; see `to_batch`."""
    split = len(shape) - item_ndim(shape, param_ndim, strict_ndim)
    return (prod(shape[:split]), *(shape[split:] or (1,)))


def to_batch(x: Tensor, param_ndim: int | None, *, strict_ndim: bool = True) -> Tensor:
    """Return `x`, and its gradient, seen as a batch of items of `param_ndim` dimensions.

    Shape `(d0, …, dn)` becomes `(N, *d)`, where `d` are the last `param_ndim` dimensions, at least
    one of them. A negative `param_ndim` counts from `x.ndim`; None takes `x` as one item. The
    result shares memory with `x` where its layout allows a view, and is a copy elsewhere.

    Args:
        x: a tensor of any shape.
        param_ndim: the number of dimensions of an item.
        strict_ndim: whether `abs(param_ndim) > x.ndim` is an error, or makes `x` one whole item.

    Raises:
        ValueError: where `x` has too few dimensions.

    >>> x = torch.zeros(3, 5, 2)
    >>> [tuple(to_batch(x, n).shape) for n in (0, 1, 2, 3, None, -1, -2, -3)]
    [(30, 1), (15, 2), (3, 5, 2), (1, 3, 5, 2), (1, 3, 5, 2), (3, 5, 2), (15, 2), (30, 1)]
    """
    shape = batch_shape(x.shape, param_ndim, strict_ndim)
    batch = x.detach().reshape(shape)
    if x.grad is not None and x.grad.layout == torch.strided:
        batch.grad = x.grad.reshape(shape)
    return batch


def in_shapes(tensors: Sequence[Tensor], shapes: Sequence[Shape | None]) -> list[Tensor]:
    """Return tensors in shapes, or as they are where it is None."""
    return [x if s is None else x.reshape(s) for x, s in zip(tensors, shapes, strict=True)]


@contextmanager
def batched(tensors: Sequence[Tensor], shapes: Sequence[Shape | None]) -> Iterator[list[Tensor]]:
    """Give tensors in shapes, or as they are where it is None.

    What was copied because no view was possible is written back.
    """
    batches = in_shapes(tensors, shapes)
    yield batches
    for x, batch in zip(tensors, batches, strict=True):
        if x.data_ptr() != batch.data_ptr():
            x.copy_(batch.view(x.shape))


@contextmanager
def hook_view(param: Tensor, group: Mapping[str, Any], strict: bool, hook: str) -> Iterator[Tensor]:
    """Give a hook its batch view of `param` and the gradient, and check that it wrote in place."""
    shape = batch_shape(param.shape, group["param_ndim"], strict)
    grad = param.grad if param.grad is not None and param.grad.layout == torch.strided else None
    tensors = [param.detach()] if grad is None else [param.detach(), grad]
    with batched(tensors, [shape] * len(tensors)) as batches:
        view = batches[0]
        before = [identity(x) for x in batches]
        if grad is not None:
            view.grad = batches[1]
        yield view
        if identity(view) != before[0]:
            raise Refused(
                f"`{hook}` changed shape, dtype or memory of `param`, of shape {shape} and "
                f"{param.dtype}; write to it, e.g. `param.copy_(new)`"
            )
        if grad is not None and (view.grad is None or identity(view.grad) != before[1]):
            raise Refused(
                f"`{hook}` did not modify the gradient in place: `param.grad` is another tensor, "
                "or has another shape or dtype, now; write to it, e.g. `param.grad.copy_(new)`"
            )


def dense_or_values(param: Tensor) -> Tensor:
    """Return the gradient of `param`; of a sparse one, coalesced, the values."""
    grad = param.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    if not grad.is_coalesced():
        grad = param.grad = grad.coalesce()
    return grad._values()


def identity(x: Tensor) -> tuple[Any, ...]:
    """Return what a transform must leave as it is: memory, shape, dtype and strides."""
    return x.data_ptr(), x.shape, x.dtype, x.stride()
