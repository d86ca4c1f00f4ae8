"""Blurs: of the lens, of glass, of movement and of zooming."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from xformopt.perturbations.corruptions.kernels import (
    blurred,
    gaussian,
    moved,
    picked,
    within,
    zoomed,
)
from xformopt.perturbations.corruptions.registry import corruption

ZOOMS = [(7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)]


@corruption({
    32: [0.4, 0.6, 0.7, 0.8, 1.0],
    64: [0.5, 0.75, 1.0, 1.25, 1.5],
    224: [1.0, 2.0, 3.0, 4.0, 6.0],
})  # fmt: skip
def gaussian_blur(images: Tensor, std: float) -> Tensor:
    """A Gaussian, cut off after four standard deviations.

    >>> dot = torch.zeros(1, 1, 9, 9)
    >>> dot[..., 4, 4] = 1
    >>> gaussian_blur(dot, 5)[0, 0, 4, 4]
    tensor(0.1592)
    """
    return blurred(images, std)


@corruption({
    32: [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)],
    64: [(0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)],
    224: [(3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)],
})  # fmt: skip
def defocus_blur(images: Tensor, radius: float, std: float) -> Tensor:
    """The disk that a point out of focus becomes, its rim softened by a narrow Gaussian.

    >>> dot = torch.zeros(1, 1, 9, 9)
    >>> dot[..., 4, 4] = 1
    >>> defocus_blur(dot, 5)[0, 0, 3:6, 3:6]
    tensor([[0.1111, 0.1111, 0.1111],
            [0.1111, 0.1111, 0.1111],
            [0.1111, 0.1111, 0.1111]])
    """
    kernel = disk(radius, std).to(images)
    reach = len(kernel) // 2
    rows, columns = (
        within(torch.arange(-reach, side + reach, device=images.device), side, "mirror")
        for side in images.shape[2:]
    )
    planes = images.flatten(0, 1)[None, :, rows[:, None], columns]
    kernels = kernel.expand(planes.shape[1], 1, -1, -1)
    return F.conv2d(planes, kernels, groups=len(kernels)).reshape(images.shape)


def disk(radius: float, std: float) -> Tensor:
    """Return a disk of sum 1 under a Gaussian of 3 × 3 pixels; of 5 × 5 from a radius above 8.

    >>> disk(1.0, 0.01)
    tensor([[0.0000, 0.2000, 0.0000],
            [0.2000, 0.2000, 0.2000],
            [0.0000, 0.2000, 0.0000]], dtype=torch.float64)
    """
    reach, soft = (8, 1) if radius <= 8 else (int(radius), 2)
    places = torch.arange(-reach, reach + 1)
    inside = (places.square()[:, None] + places.square() <= radius**2).double()
    weights = gaussian(soft, std)
    around = within(torch.arange(-soft, 2 * reach + 1 + soft), 2 * reach + 1, "mirror")
    padded = (inside / inside.sum())[around[:, None], around]
    kernel = F.conv2d(padded[None, None], weights.outer(weights)[None, None])[0, 0]
    empty = int((kernel.sum(0) > 0).nonzero()[0])
    return kernel[empty : len(kernel) - empty, empty : len(kernel) - empty]


@corruption({
    32: [(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)],
    64: [(10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)],
    224: [(10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)],
})  # fmt: skip
def motion_blur(images: Tensor, generator: Generator, radius: int, std: float) -> Tensor:
    """A movement to the right while the picture was taken, within 45 degrees up or down.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> motion_blur(x, 1, torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    degrees = images.new_empty(len(images)).uniform_(-45, 45, generator=generator)
    return moved(images, radius, std, degrees)


@corruption({
    32: ZOOMS,
    64: ZOOMS,
    224: [(12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)],
})  # fmt: skip
def zoom_blur(images: Tensor, count: int, step: float) -> Tensor:
    """The mean of an image and of its zooms, by 1, 1 + step, ….

    >>> x = torch.full((1, 1, 8, 8), 0.5)
    >>> torch.allclose(zoom_blur(x, 5), x)
    True
    """
    total = images.clone()
    for i in range(count):
        total += zoomed(images, 1 + i * step)
    return total / (count + 1)


@corruption({
    32: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    64: [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    224: [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
})  # fmt: skip
def glass_blur(images: Tensor, generator: Generator, std: float, reach: int, rounds: int) -> Tensor:
    """Frosted glass: pixels are strewn between two Gaussians.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> glass_blur(x, 1, torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    found = blurred(images, std)
    count, _, height, width = images.shape
    for _ in range(rounds):
        shape = (2, count, height, width)
        found = strewn(
            found,
            *torch.randint(-reach, reach, shape, generator=generator, device=images.device),
            reach=reach,
        )
    return blurred(found, std)


def strewn(images: Tensor, down: Tensor, across: Tensor, *, reach: int) -> Tensor:
    """Return images whose pixels, from the last to the first, took each what lies so far off.

    The source means to swap the two, but assigns views of one array, so that one is copied. A pixel
    that took from one that had taken before has what that one took: paths of copies are followed to
    their ends by doubling.

    >>> x = torch.arange(16.0).view(1, 1, 4, 4)
    >>> off = torch.full((1, 4, 4), -1)
    >>> strewn(x, off, off, reach=1)[0, 0]
    tensor([[ 0.,  1.,  2.,  3.],
            [ 4.,  5.,  6.,  7.],
            [ 8.,  9.,  5.,  6.],
            [12., 13.,  9., 10.]])
    """
    count, _, height, width = images.shape
    rows = torch.arange(height, device=images.device).view(-1, 1)
    columns = torch.arange(width, device=images.device)
    acts = (rows > reach) & (rows <= height - reach)
    acts = acts & (columns > reach) & (columns <= width - reach)
    own = (rows * width + columns).expand(count, -1, -1)
    source = torch.where(acts, own + down * width + across, own).flatten(1)
    ends = ~acts.expand(count, -1, -1).flatten(1).gather(1, source) | (source <= own.flatten(1))
    for _ in range((height * width).bit_length()):
        further = source.gather(1, source)
        source, ends = torch.where(ends, source, further), ends | ends.gather(1, source)
    source = source.view(count, height, width)
    return picked(images, source // width, source % width)
