"""Digital corruptions: elastic distortion, large pixels."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from xformopt.perturbations.corruptions.kernels import blurred, sampled, separable
from xformopt.perturbations.corruptions.registry import corruption

SLIP = 244 / 224
"""The authors' source takes images of 224 pixels for 244."""


@corruption({
    32: [(0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
         (0.1, 0.03, 0.03)],
    64: [(0.0, 0.0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03),
         (0.16, 0.03, 0.02)],
    224: [(2.0 * SLIP, 0.7 * SLIP, 0.1 * SLIP), (2.0 * SLIP, 0.08 * SLIP, 0.2 * SLIP),
          (0.05 * SLIP, 0.01 * SLIP, 0.02 * SLIP), (0.07 * SLIP, 0.01 * SLIP, 0.02 * SLIP),
          (0.12 * SLIP, 0.01 * SLIP, 0.02 * SLIP)],
})  # fmt: skip
def elastic_transform(
    images: Tensor, generator: Generator, size: float, std: float, jitter: float
) -> Tensor:
    """Three points of an image move, affinely; then all pixels by a smooth field.

    x(p) ← x'(p + size · G(u)), u uniform in [-1, 1], G a Gaussian of width std; all three constants
    in shorter sides of the image. At high severities images slant less and crumple more, so that
    their distance from the originals shrinks, there as here.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> elastic_transform(x, 1, torch.Generator()).shape
    torch.Size([2, 1, 8, 8])

    Source: Simard et al. 2003, Best practices for convolutional neural networks applied to visual
    document analysis, ICDAR.
    """
    count, _, height, width = images.shape
    side = min(height, width)
    corners = corners_of(images)
    drawn = images.new_empty(count, 3, 2).uniform_(-1, 1, generator=generator)
    images = sampled(images, affine(images, corners + jitter * side * drawn, corners), "mirror")
    field = images.new_empty(count, 2, height, width).uniform_(-1, 1, generator=generator)
    field = size * side * blurred(field, std * side, truncate=3, edge="reflect")
    return sampled(images, places_of(images) + field.movedim(1, -1), "reflect")


def places_of(images: Tensor) -> Tensor:
    """Return where pixels are, `(H, W, 2)` as x and y."""
    y, x = (torch.arange(side, device=images.device) for side in images.shape[2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).to(images.dtype)


def corners_of(images: Tensor) -> Tensor:
    """Return three corners of the square in the middle, of a third of the side to each side."""
    height, width = images.shape[2:]
    signs = images.new_tensor([[1, 1], [1, -1], [-1, -1]])
    return images.new_tensor([width // 2, height // 2]) + min(height, width) // 3 * signs


def affine(images: Tensor, points: Tensor, sources: Tensor) -> Tensor:
    """Return where each pixel comes from, if points, `(N, 3, 2)`, come from sources, `(3, 2)`."""
    matrix = torch.linalg.solve_ex(F.pad(points, (0, 1), value=1), sources.expand_as(points))[0]
    return F.pad(places_of(images), (0, 1), value=1) @ matrix[:, None]


@corruption({
    32: [0.95, 0.9, 0.85, 0.75, 0.65],
    64: [0.9, 0.8, 0.7, 0.6, 0.5],
    224: [0.6, 0.5, 0.4, 0.3, 0.25],
})  # fmt: skip
def pixelate(images: Tensor, share: float) -> Tensor:
    """Fewer pixels, a share of each side, and as many as before again.

    >>> pixelate(torch.eye(8)[None, None], 5)[0, 0, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """
    height, width = images.shape[2:]
    rows, columns = (boxes(int(side * share), side) for side in (height, width))
    small = separable(images, rows, columns)
    return separable(small, *(boxes(side, int(side * share)) for side in (height, width)))


def boxes(target: int, length: int) -> Tensor:
    """Return the matrix that resizes by means over boxes, as Pillow does.

    A pixel counts whole where its middle lies in the box, (a, b], which has one pixel at least. Of
    a middle on an edge, which no published size has, Pillow's rounding errors decide there.

    >>> boxes(2, 3)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    middles = (2 * torch.arange(length) + 1) * target
    off = middles - (2 * torch.arange(target)[:, None] + 1) * length
    reach = max(length, target)
    weights = ((off > -reach) & (off <= reach)).double()
    return weights / weights.sum(1, keepdim=True)
