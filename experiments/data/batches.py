"""Which images come when: a pure function of the seed and the step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.data.contract import Images
from experiments.data.draws import generator

Batch = tuple[Tensor, Tensor]
"""Images in [0, 1], shape `(N, C, H, W)`, and their classes, shape `(N,)`."""

EVALUATED = 1000
"""The number of images that are judged at a time."""


class Batches:
    """Shuffled batches, each image once an epoch; the last of an epoch may be smaller."""

    def __init__(self, images: Images, size: int, seed: int) -> None:
        """Hold the images."""
        self.images, self.size, self.seed = images, min(size, len(images)), seed
        self.per_epoch = -(-len(images) // self.size)
        self.shuffled: tuple[int, tuple[Tensor, ...]] = (-1, ())

    def at(self, step: int) -> Batch:
        """Return the batch of a step; the first step is 0."""
        epoch, place = divmod(step, self.per_epoch)
        if self.shuffled[0] != epoch:
            drawn = generator(self.seed, "order", epoch)
            order = torch.randperm(len(self.images), generator=drawn)
            self.shuffled = epoch, order.to(self.images.labels.device).split(self.size)
        return scaled(self.images, self.shuffled[1][place])


def in_order(images: Images) -> Iterator[Batch]:
    """Give all images, as they stand."""
    for chosen in torch.arange(len(images), device=images.labels.device).split(EVALUATED):
        yield scaled(images, chosen)


def scaled(images: Images, chosen: Tensor) -> Batch:
    """Return some images with their pixels in [0, 1]."""
    return images.pixels[chosen].float().div_(255), images.labels[chosen]
