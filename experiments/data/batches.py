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
    ) -> None:
        """Hold the images, and what changes them on the device."""
        self.images, self.size, self.seed = images, min(size, len(images)), seed
        self.device, self.augment = device or torch.device("cpu"), augment or {}
        self.per_epoch = -(-len(images) // self.size)
        self.next, self.upcoming = -1, iter(())

    def at(self, step: int) -> Batch:
        """Return the batch of a step; the first step is 0."""
        if step != self.next:
            self.upcoming = taken(self.images.pixels, self.images.labels, self._orders(step))
        self.next = step + 1
        images, labels = scaled(next(self.upcoming), self.device)
        for name, change in self.augment.items():
            images = change(images, generator(self.seed, name, step, device=self.device))
        return images, labels

    def _orders(self, step: int) -> Iterator[Tensor]:
        """Give the images of each batch from a step on."""
        first, place = divmod(step, self.per_epoch)
        for epoch in count(first):
            drawn = generator(self.seed, "order", epoch)
            order = torch.randperm(len(self.images), generator=drawn)
            yield from islice(order.to(self.images.labels.device).split(self.size), place, None)
            place = 0


def in_order(images: Images, device: torch.device | None = None) -> Iterator[Batch]:
    """Give all images, as they stand."""
    size = min(EVALUATED, max(1, PIXELS // images.pixels.shape[1:].numel()))
    orders = torch.arange(len(images), device=images.labels.device).split(size)
    batches = taken(images.pixels, images.labels, orders)
    return (scaled(some, device or images.labels.device) for some in batches)


def scaled(some: tuple[Tensor, Tensor], device: torch.device) -> Batch:
    """Return images and labels on a device, with the pixels in [0, 1]."""
    pixels, labels = (tensor.to(device, non_blocking=True) for tensor in some)
    return pixels.float().div_(255), labels
