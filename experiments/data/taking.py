"""Images as they are taken, batch by batch: from a tensor, or from files by a `DataLoader`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.data.contract import Images
from xformopt.refused import Refused

Taken = tuple[Tensor, Tensor]
"""Pixels as uint8, shape `(N, C, H, W)`, and classes."""

NAMED = 5
"""Of so many files that cannot be read, the names are told."""


def taken(images: Images, orders: Iterable[Tensor]) -> Iterator[Taken]:
    """Give the images of each order; what is not in memory is decoded ahead, by workers."""
    pixels = images.pixels
    if isinstance(pixels, Tensor):
        return ((pixels[chosen], images.labels[chosen]) for chosen in orders)
    return _readable(_loaded(images, pixels.workers, orders))


def in_memory(images: Images) -> Images:
    """Return images whose files are read once, all of them; those that cannot be are named."""
    pixels = images.pixels
    if isinstance(pixels, Tensor):
        return images
    read, wrong = [], []
    for batch in _loaded(images, pixels.workers, torch.arange(len(images)).split(64)):
        (wrong if isinstance(batch, list) else read).append(batch)
    if wrong:
        raise _unreadable([line for lines in wrong for line in lines])
    return Images(torch.cat([pixels for pixels, _ in read]), images.labels)


def _loaded(images: Images, workers: int, orders: Iterable[Tensor]) -> DataLoader[Any]:
    """Give what `_Taken` does of each order, read ahead by workers."""
    return DataLoader(
        _Taken(images),
        batch_sampler=(chosen.tolist() for chosen in orders),
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


class _Taken(Dataset[Any]):
    """Images by number, a whole batch at once; or what is wrong with those that cannot be read."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitems__(self, chosen: Sequence[int]) -> Taken | list[str]:
        numbers = torch.tensor(chosen)
        try:
            return self.images.pixels[numbers], self.images.labels[numbers]
        except OSError as error:
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
