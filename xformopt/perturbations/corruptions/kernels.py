"""What several corruptions are made of: edges, Gaussian and moving blurs, zooms, samples.

Edges are called as in `scipy.ndimage`: `nearest` aaa|abcd|ddd, `reflect` cba|abcd|dcb, `mirror`
dcb|abcd|cba.
"""

from math import ceil
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Edge = Literal["nearest", "reflect", "mirror"]


def within(places: Tensor, length: int, edge: Edge) -> Tensor:
    """Return which of the pixels 0, …, length - 1 stands at each place.

    >>> within(torch.arange(-3, 7), 4, "mirror")
    tensor([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    """
    if edge == "nearest":
        return places.clamp(0, length - 1)
    last = 2 * length - (1 if edge == "reflect" else 2)
    period = 2 * length if edge == "reflect" else last
    folded = places % period
    return torch.minimum(folded, last - folded)


def gaussian(reach: int, std: float) -> Tensor:
    """Return the weights of a Gaussian from -reach to reach, whose sum is 1.

    >>> gaussian(1, 0.5)
    tensor([0.1065, 0.7870, 0.1065], dtype=torch.float64)
    """
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = (-0.5 * (places / (std or 1.0)).square()).exp()
    return weights / weights.sum()


def blurred(images: Tensor, std: float, *, truncate: float = 4.0, edge: Edge = "nearest") -> Tensor:
    """Return images under a Gaussian that is cut off after `truncate` standard deviations.

    >>> blurred(torch.eye(8), 0.0).equal(torch.eye(8))
    True
    """
    weights = gaussian(int(truncate * std + 0.5), std)
    rows, columns = (_filter(weights, length, edge) for length in images.shape[-2:])
    return separable(images, rows, columns)


def _filter(weights: Tensor, length: int, edge: Edge) -> Tensor:
    """Return the matrix that convolves with weights."""
    reach = len(weights) // 2
    places = torch.arange(length)[:, None] + torch.arange(-reach, reach + 1)
    matrix = weights.new_zeros(length, length)
    return matrix.scatter_add_(1, within(places, length, edge), weights.expand(length, -1))


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return `rows` · image · `columns`ᵀ for each channel."""
    return rows.to(images) @ images @ columns.to(images).T


def zoomed(images: Tensor, factor: float) -> Tensor:
    """Return the middle of images, magnified to their size, by linear interpolation.

    >>> zoomed(torch.eye(8)[None, None], 1.0).equal(torch.eye(8)[None, None])
    True
    """
    sides = images.shape[2:]
    cut = [ceil(side / factor) for side in sides]
    large = _middle(images, cut)
    target = [int(length * factor + 0.5) for length in cut]
    large = F.interpolate(large, target, mode="bilinear", align_corners=True)
    return _middle(large, sides)


def _middle(images: Tensor, sides: list[int] | torch.Size) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], sides, strict=True))
    return images[:, :, top : top + sides[0], left : left + sides[1]]


def picked(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels at places that differ from image to image, `(N, H, W)` each."""
    places = (rows * images.shape[3] + columns).flatten(1)[:, None]
    return images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).view_as(images)


def moved(images: Tensor, radius: float, std: float, degrees: Tensor) -> Tensor:
    """Return images that moved while they were taken, each in its direction, `(N,)`.

    x ← Σᵢ wᵢ x at i steps along the direction, w half a Gaussian, i = 0, …, 2·radius, to the pixel

    Source: ImageMagick's MotionBlurImage.
    """
    height, width = images.shape[2:]
    count = 2 * ceil(radius)
    weights = gaussian(count, std)[count:]
    total = torch.zeros_like(images)
    for i, weight in enumerate((weights / weights.sum()).tolist()):
        down, across = (
            (i * part - 0.5).ceil().long().view(-1, 1, 1)
            for part in (degrees.deg2rad().sin(), degrees.deg2rad().cos())
        )
        rows = within(torch.arange(height, device=images.device)[:, None] + down, height, "nearest")
        columns = within(torch.arange(width, device=images.device) + across, width, "nearest")
        total += weight * picked(images, rows, columns)
    return total


def sampled(images: Tensor, places: Tensor, edge: Literal["reflect", "mirror"]) -> Tensor:
    """Return images at places between pixels, `(N, H, W, 2)` as x and y, interpolated linearly.

    >>> x = torch.arange(64.0).view(1, 1, 8, 8)
    >>> sampled(x, torch.tensor([2.5, 1.0]).expand(1, 1, 1, 2), "reflect")
    tensor([[[[10.5000]]]])
    """
    sides = places.new_tensor([images.shape[3], images.shape[2]])
    at_pixels = edge == "mirror"
    grid = 2 * places / (sides - 1) - 1 if at_pixels else (2 * places + 1) / sides - 1
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=at_pixels)
