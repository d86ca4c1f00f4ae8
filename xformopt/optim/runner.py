"""Calls of a transform under one set of settings: one by one, gathered, in slabs, all at once."""

from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors as flatten
from torch._utils import _unflatten_dense_tensors as unflatten

from xformopt.optim.batching import batch_shape, batched, identity, in_shapes
from xformopt.optim.plans import Call, Columns, Plan
from xformopt.refused import Refused
from xformopt.transforms.buffers import Shape
from xformopt.transforms.definition import Transform


class Runner:
    """Calls a transform as a plan says; `check` makes sure that it writes in place alone."""

    def __init__(self, transform: Transform, settings: dict[str, Any], *, check: bool) -> None:
        """Take the transform and its settings."""
        self.transform, self.settings, self.check = transform, settings, check

    def run(self, plan: Plan, columns: Columns) -> None:
        """Carry out a plan on the columns that it was made for."""
        if plan.as_they_are:
            for tensors in zip(*_chosen(columns, plan.as_they_are), strict=True):
                self.call(tensors)
        if plan.foreach:
            assert self.transform.foreach
            self.transform.foreach(*_chosen(columns, plan.foreach), **self.settings)
        for call in plan.calls:
            chosen = [[column[i] for i in call.positions] for column in columns]
            if len(call.positions) > 1:
                self._gathered(chosen, call)
            else:
                self._alone([column[0] for column in chosen], call)

    def call(self, tensors: Any, settings: dict[str, Any] | None = None) -> None:
        """Call the transform once, with its settings or with others."""
        settings = self.settings if settings is None else settings
        if not self.check:
            self.transform.fn(*tensors, **settings)
            return
        first = tensors[0]
        before = identity(first) if isinstance(first, Tensor) else None
        returned = self.transform.fn(*tensors, **settings)
        if returned is None and before and identity(first) != before:
            returned = first
        if returned is not None:
            shape = tuple(before[1] if before else ())
            raise Refused(
                f"transform `{self.transform.name}` must write to `{self.transform.target}` in "
                f"place and return nothing, for a batch of shape {shape}; it returned or replaced "
                f"it by a {type(returned).__name__}"
            )

    def plainly(self, columns: Columns, param_ndim: int | None, strict: bool) -> None:
        """Call the transform for one parameter after the other, for a compiler to fuse."""
        for tensors in zip(*columns, strict=True):
            shape = batch_shape(tensors[0].shape, param_ndim, strict)
            batches = in_shapes(tensors, self.transform.seen_as(shape))
            self.transform.fn(*batches, **self._seen_as(tensors[0].shape, shape))
            for x, batch in zip(tensors, batches, strict=True):
                if not x.is_contiguous():
                    x.copy_(batch.view(x.shape))

    def _seen_as(self, shape: torch.Size, batch: tuple[int, ...]) -> dict[str, Any]:
        """Return the settings; tensors of the shape of the parameter are seen as it is."""
        return {
            key: value.reshape(batch)
            if isinstance(value, Tensor) and value.shape == shape
            else value
            for key, value in self.settings.items()
        }

    def _alone(self, tensors: list[Tensor], call: Call) -> None:
        """Call it for one parameter; on the CPU in slabs of items that its caches hold."""
        settings = self._seen_as(tensors[0].shape, call.shape)
        with batched(tensors, self.transform.seen_as(call.shape)) as batches:
            if not call.slab:
                self.call(batches, settings)
                return
            for slab in zip(*(batch.split(call.slab) for batch in batches), strict=True):
                self.call(slab)

    def _gathered(self, columns: Columns, call: Call) -> None:
        """Call it for several parameters at once, and write back what it may have changed.

        A tensor that it only reads is written back where its version says that it was changed all
        the same; a write through `.data` or `.numpy()` leaves no such trace.
        """
        only_read = range(1, len(self.transform.tensors))
        seen = self.transform.seen_as(call.shape)
        rows = [call.sizes if k in self.transform.entries else [] for k in range(len(columns))]
        batches = [
            column[0] if shape is None else _gather(column, shape, sizes)
            for column, shape, sizes in zip(columns, seen, rows, strict=True)
        ]
        versions = [batch._version for batch in batches]
        self.call(batches)
        for k, (column, batch) in enumerate(zip(columns, batches, strict=True)):
            if k in only_read and batch._version == versions[k]:
                continue
            if seen[k] is None:
                torch.ops.aten._foreach_copy_(column[1:], [batch] * (len(column) - 1))
            else:
                _scatter(batch, column, rows[k])


def _gather(column: list[Tensor], shape: Shape, sizes: list[int]) -> Tensor:
    return (torch.cat(column) if sizes else flatten(column)).view(shape)


def _scatter(batch: Tensor, column: list[Tensor], sizes: list[int]) -> None:
    if sizes:
        whole = batch.view(-1, *column[0].shape[1:])
        torch.split_with_sizes_copy(whole, sizes, out=column)
    else:
        torch.ops.aten._foreach_copy_(column, list(unflatten(batch.view(-1), column)))


def _chosen(columns: Columns, positions: list[int]) -> Columns:
    if len(positions) == len(columns[0]):
        return columns
    return [[column[i] for i in positions] for column in columns]
