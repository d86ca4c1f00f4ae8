"""DTensor parameters: links run on local shards where items are whole there, else on the whole."""

import sys
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from xformopt.optim.batching import item_ndim
from xformopt.optim.exchange import Exchange, by_kind, can_be_dealt
from xformopt.refused import Refused
from xformopt.transforms.definition import Transform

Columns = list[list[Tensor]]


def is_sharded(x: Any) -> bool:
    """Return whether `x` is a DTensor; where none was ever made, its module is not imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def local(x: Tensor) -> Tensor:
    """Return what a rank holds of a tensor; one that is not sharded, as it is."""
    x = x.detach()
    return x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]


def beside_shards(x: Any, shape: tuple[int, ...], leading: int) -> Tensor:
    """Return zeros sharded as the leading dimensions of `x` are, which they share; else whole."""
    from torch.distributed.tensor import Replicate, zeros

    placements = [p if p.is_shard() and p.dim < leading else Replicate() for p in x.placements]
    return zeros(*shape, dtype=x.dtype, device_mesh=x.device_mesh, placements=placements)


class Shards:
    """The local view of what a link is given for sharded parameters, and the way back.

    Items that lie whole on each rank, as rows of shards on dim 0, are taken there without
    communication. Others are gathered, transformed on every rank alike, and cut again; where that
    is costly, the tensors are dealt out among the ranks instead.
    """

    def __init__(
        self,
        transform: Transform,
        columns: Columns,
        param_ndim: int | None,
        strict: bool,
        draws: bool,
    ) -> None:
        """Make `columns` of local tensors."""
        self.gathered: list[tuple[Any, Tensor]] = []
        self.exchanges: list[Exchange] = []
        self.columns: Columns = [[] for _ in columns]
        dealt: list[Any] = []
        for tensors in zip(*columns, strict=True):
            if is_sharded(tensors[0]):
                _refuse_draws(transform, draws)
                whole = transform.elementwise or _items_are_whole(
                    tensors[0], item_ndim(tensors[0].shape, param_ndim, strict)
                )
                if not whole and _is_dealt(transform, tensors[0]):
                    dealt.append(tensors[0])
                    continue
                tensors = [self._local(x, whole) for x in tensors]
            for column, x in zip(self.columns, tensors, strict=True):
                column.append(x)
        for alike in by_kind(dealt):
            self.exchanges.append(Exchange(alike))
            self.columns[0].extend(self.exchanges[-1].whole)

    def write_back(self) -> None:
        """Put the shards of what was gathered and transformed where they came from."""
        from torch.distributed.tensor import DTensor, Replicate

        for exchange in self.exchanges:
            exchange.give_back()
        for x, full in self.gathered:
            everywhere = [Replicate()] * x.device_mesh.ndim
            whole = DTensor.from_local(full, x.device_mesh, everywhere, run_check=False)
            x.to_local().copy_(whole.redistribute(placements=x.placements).to_local())

    def _local(self, x: Any, whole: bool) -> Tensor:
        if not is_sharded(x):
            return x
        if whole and not any(placement.is_partial() for placement in x.placements):
            return x.to_local()
        full = x.full_tensor()
        self.gathered.append((x, full))
        return full


def _is_dealt(transform: Transform, x: Any) -> bool:
    """Return whether the work on a tensor is worth sharing among the ranks."""
    return (
        transform.costly
        and transform.tensors == ("grad",)
        and not transform.state
        and (can_be_dealt(x))
    )


def _items_are_whole(x: Any, item_dims: int) -> bool:
    """Return whether every rank holds whole items, and some: none may be left without a call."""
    sizes: Sequence[int] = x.device_mesh.shape
    held = list(x.shape)
    for placement, ranks in zip(x.placements, sizes, strict=True):
        if placement.is_replicate():
            continue
        if not placement.is_shard() or placement.dim >= x.ndim - item_dims:
            return False
        rows = held[placement.dim]
        held[placement.dim] = -(-rows // ranks)
        uneven_twice = rows % ranks and rows < x.shape[placement.dim]
        if held[placement.dim] * (ranks - 1) >= rows or uneven_twice:
            return False
    return True


def _refuse_draws(transform: Transform, draws: bool) -> None:
    if draws:
        raise Refused(
            f"transform `{transform.name}` draws random numbers, which would differ between "
            "the ranks that hold a sharded parameter; apply it before sharding, or leave it out"
        )
