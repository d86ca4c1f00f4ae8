"""Images as they are taken, batch by batch: from a tensor, or from files by a `DataLoader`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xformopt.refused import Refused


class Files(Protocol):
    """Images that are decoded when they are taken: `experiments.data.files` has them."""

    shape: torch.Size
    dtype: torch.dtype
    workers: int

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Return some of the images, decoded; a `ValueError` names each that cannot be."""
        ...

    def part(self, chosen: Tensor) -> "Files":
        """Return some of the images as they are."""
        ...


Taken = tuple[Tensor, Tensor]
"""Pixels as uint8, shape `(N, C, H, W)`, and classes."""

NAMED = 5
"""Of so many files that cannot be read, the names are told."""


def taken(pixels: Tensor | Files, labels: Tensor, orders: Iterable[Tensor]) -> Iterator[Taken]:
    """Give the images of each order; what is not in memory is decoded ahead, by workers."""
    if isinstance(pixels, Tensor):
        return ((pixels[chosen], labels[chosen]) for chosen in orders)
    return _readable(_loaded(pixels, labels, orders))


def in_memory(files: Files) -> Tensor:
    """Return the pixels of all files, read once; those that cannot be read are named."""
    numbers = torch.arange(files.shape[0])
    read, wrong = [], []
    for batch in _loaded(files, numbers, numbers.split(64)):
        if isinstance(batch, list):
            wrong += batch
        else:
            read.append(batch[0])
    if wrong:
        raise _unreadable(wrong)
    return torch.cat(read)


def _loaded(files: Files, labels: Tensor, orders: Iterable[Tensor]) -> DataLoader[Any]:
    """Give what `_Taken` does of each order, read ahead by workers; torch's generator stays."""
    return DataLoader(
        _Taken(files, labels),
        batch_sampler=(chosen.tolist() for chosen in orders),
        collate_fn=_as_it_is,
        num_workers=files.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


class _Taken(Dataset[Any]):
    """Images by number, a whole batch at once; or what is wrong with those that cannot be read."""

    def __init__(self, files: Files, labels: Tensor) -> None:
        self.files, self.labels = files, labels

    def __getitems__(self, chosen: Sequence[int]) -> Taken | list[str]:
        numbers = torch.tensor(chosen)
        try:
            return self.files[numbers], self.labels[numbers]
        except ValueError as error:
            return list(error.args)


def _readable(batches: Iterable[Any]) -> Iterator[Taken]:
    for batch in batches:
        if isinstance(batch, list):
            raise _unreadable(batch)
        yield batch


def _unreadable(lines: Sequence[str]) -> Refused:
    more = f", and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    said = f"{'; '.join(lines[:NAMED])}{more}"
    return Refused(f"files cannot be read as images: {said}; mend them or take them away")


def _as_it_is(batch: Any) -> Any:
    return batch
