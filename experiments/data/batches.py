"""Which images come when: a pure function of the seed and the step."""

from collections.abc import Iterator, Mapping
from itertools import count, islice

import torch
from torch import Tensor

from experiments.data.augmentations import Augmentation
from experiments.data.contract import Images
from experiments.data.draws import generator
from experiments.data.taking import taken

Batch = tuple[Tensor, Tensor]
"""Images in [0, 1], shape `(N, C, H, W)`, and their classes, shape `(N,)`."""

EVALUATED, PIXELS = 1000, 2**22
"""The number of images that are judged at a time, and of their pixels, at most."""


class Batches:
    """Shuffled batches, each image once an epoch; the last of an epoch may be smaller.

    They are read in order; a step that does not follow the one before begins anew from there.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        seed: int,
        device: torch.device | None = None,
        augment: Mapping[str, Augmentation] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Hold the images, and what changes them on the device.

        Of several processes, one takes its share of each batch: `(0, 2)` is the first of two.
        """
        self.images, self.size, self.seed = images, min(size, len(images)), seed
        self.device, self.augment = device or torch.device("cpu"), augment or {}
        self.rank, self.ranks = share
        self.per_epoch = -(-len(images) // self.size)
        self.next, self.upcoming = -1, iter(())
        self.last: Batch | None = None

    def at(self, step: int) -> Batch:
        """Return the batch of a step, or the share of it; the first step is 0."""
        if self.last is not None and step == self.next - 1:
            return self.last
        if step != self.next:
            self.upcoming = taken(self.images.pixels, self.images.labels, self._orders(step))
        self.next = step + 1
        images, labels = scaled(next(self.upcoming), self.device)
        self.last = self._augmented(images, step), labels
        return self.last

    def weight(self, step: int) -> float:
        """Return what the mean over a share counts, so that the mean of all is that of the batch.

        A batch of fewer images than there are processes leaves some with one that counts nothing.
        """
        total = self._total(step)
        begin, end = bounds(total, self.rank, self.ranks)
        return (end - begin) * self.ranks / total

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        """Change images as if the batch were whole, so that the same numbers are drawn for each."""
        if not self.augment:
            return images
        total = self._total(step)
        own = at_least_one(total, self.rank, self.ranks)
        if self.ranks > 1:
            whole = images.new_zeros(total, *images.shape[1:])
            whole[own] = images
            images = whole
        for name, change in self.augment.items():
            images = change(images, generator(self.seed, name, step, device=self.device))
        return images[own] if self.ranks > 1 else images

    def _total(self, step: int) -> int:
        """Return the number of images of a step."""
        last = step % self.per_epoch == self.per_epoch - 1
        return len(self.images) - self.size * (self.per_epoch - 1) if last else self.size

    def _own(self, order: Tensor) -> Tensor:
        """Return the share of a batch; one image at least."""
        return order[at_least_one(len(order), self.rank, self.ranks)]

    def _orders(self, step: int) -> Iterator[Tensor]:
        """Give the images of each batch from a step on."""
        first, place = divmod(step, self.per_epoch)
        for epoch in count(first):
            drawn = generator(self.seed, "order", epoch)
            order = torch.randperm(len(self.images), generator=drawn)
            batches = order.to(self.images.labels.device).split(self.size)
            yield from map(self._own, islice(batches, place, None))
            place = 0


def bounds(total: int, part: int, parts: int) -> tuple[int, int]:
    """Return where a part of so many images begins and ends; it may be empty.

    >>> [bounds(5, part, 3) for part in range(3)]
    [(0, 1), (1, 3), (3, 5)]
    """
    return total * part // parts, total * (part + 1) // parts


def at_least_one(total: int, part: int, parts: int) -> slice:
    """Return such a part, or one image in the place of none.

    >>> [at_least_one(1, part, 2) for part in range(2)]
    [slice(0, 1, None), slice(0, 1, None)]
    """
    begin, end = bounds(total, part, parts)
    return slice(begin, max(end, begin + 1))


def in_order(
    images: Images, device: torch.device | None = None, most: int = EVALUATED
) -> Iterator[Batch]:
    """Give all images, as they stand, so many at a time at most."""
    size = min(most, max(1, PIXELS // images.pixels.shape[1:].numel()))
    orders = torch.arange(len(images), device=images.labels.device).split(size)
    batches = taken(images.pixels, images.labels, orders)
    return (scaled(some, device or images.labels.device) for some in batches)


def scaled(some: tuple[Tensor, Tensor], device: torch.device) -> Batch:
    """Return images and labels on a device, with the pixels in [0, 1]."""
    pixels, labels = (tensor.to(device, non_blocking=True) for tensor in some)
    return pixels.float().div_(255), labels
