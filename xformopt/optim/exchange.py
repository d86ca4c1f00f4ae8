"""Sharded tensors dealt out among the ranks: each has its share whole, and gives shards back."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def can_be_dealt(x: Any) -> bool:
    """Return whether a DTensor is cut on dim 0 alone, over the ranks of a mesh of one dimension."""
    if x.device_mesh.ndim != 1 or x.device_mesh.size() == 1:
        return False
    (placement,) = x.placements
    return placement.is_shard(0)


class Exchange:
    """Whole tensors of one dtype on one mesh, an equal share for each rank, biggest first.

    Without it each rank would gather all tensors and transform every one of them.
    """

    def __init__(self, tensors: list[Any]) -> None:
        """Deal the tensors out, and send their shards to where they are needed."""
        mesh = tensors[0].device_mesh
        self.group, self.rank, self.ranks = mesh.get_group(), mesh.get_local_rank(), mesh.size()
        self.dealt = _deal(tensors, self.ranks)
        self.mine = self.dealt[self.rank]
        received = self._swap(
            [[x.to_local() for x in share] for share in self.dealt],
            [[_shard_shape(x, rank) for x in self.mine] for rank in range(self.ranks)],
        )
        self.whole = [torch.cat(shards) for shards in zip(*received, strict=True)]

    def give_back(self) -> None:
        """Send the shards of what this rank has to their ranks, and write what comes here."""
        sent = [
            [_shard(full, x, rank) for full, x in zip(self.whole, self.mine, strict=True)]
            for rank in range(self.ranks)
        ]
        received = self._swap(
            sent, [[tuple(x.to_local().shape) for x in share] for share in self.dealt]
        )
        for share, shards in zip(self.dealt, received, strict=True):
            for x, shard in zip(share, shards, strict=True):
                x.to_local().copy_(shard)

    def _swap(
        self, sent: list[list[Tensor]], shapes: list[list[tuple[int, ...]]]
    ) -> list[list[Tensor]]:
        """Send tensors to each rank, and return those, of these shapes, that come from each."""
        flat = [x.reshape(-1) for tensors in sent for x in tensors]
        like = self.dealt_tensor().to_local()
        given = torch.cat(flat) if flat else like.new_empty(0)
        out = [sum(map(_numel, s)) for s in shapes]
        taken = given.new_empty(sum(out))
        sizes = [sum(x.numel() for x in tensors) for tensors in sent]
        dist.all_to_all_single(taken, given, out, sizes, group=self.group)
        pieces = iter(taken.split([_numel(s) for rank in shapes for s in rank]))
        return [[next(pieces).view(s) for s in rank] for rank in shapes]

    def dealt_tensor(self) -> Any:
        """Return one of the tensors."""
        return next(x for share in self.dealt for x in share)


def by_kind(tensors: list[Any]) -> list[list[Any]]:
    """Return the tensors by mesh and dtype."""
    kinds: dict[Any, list[Any]] = {}
    for x in tensors:
        kinds.setdefault((x.device_mesh, x.dtype), []).append(x)
    return list(kinds.values())


def _deal(tensors: list[Any], ranks: int) -> list[list[Any]]:
    """Give each tensor, the biggest first, to the rank that has least; the same on every rank."""
    shares: list[list[Any]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for x in sorted(tensors, key=_cost, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(x)
        loads[least] += _cost(x)
    return shares


def _cost(x: Any) -> int:
    """Return the products that one Gram matrix takes."""
    rows, columns = x.shape[0], x.numel() // x.shape[0]
    return rows * columns * min(rows, columns)


def _rows(x: Any, rank: int) -> slice:
    """Return the rows that a rank has, cut as `torch.chunk` cuts."""
    chunk = -(-x.shape[0] // x.device_mesh.size())
    return slice(min(rank * chunk, x.shape[0]), min((rank + 1) * chunk, x.shape[0]))


def _shard_shape(x: Any, rank: int) -> tuple[int, ...]:
    rows = _rows(x, rank)
    return rows.stop - rows.start, *x.shape[1:]


def _shard(whole: Tensor, x: Any, rank: int) -> Tensor:
    return whole[_rows(x, rank)]


def _numel(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
