"""JPEG: what is left of an image after lossy compression at a quality."""

import torch
from torch import Tensor
from torch.nn import functional as F

from xformopt.perturbations.corruptions.color import LUMA
from xformopt.perturbations.corruptions.registry import COLORS, corruption

BLOCK = 8

BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
COLOR = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * BLOCK] * 4,
)
"""Quanta of the coefficients of a block at quality 50, tables K.1 and K.2 of the standard."""

COSINES = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)
"""The left half of √8 times the transform, with 13 bits after the point, as libjpeg sums it up."""


@corruption({
    32: [80, 65, 58, 50, 40],
    64: [65, 58, 50, 40, 25],
    224: [25, 18, 15, 10, 7],
})  # fmt: skip
def jpeg_compression(images: Tensor, quality: int) -> Tensor:
    """JPEG at a quality, as libjpeg writes and reads it; pixels are rounded to 8 bits.

    Colour is halved in both directions; channels are coded one by one where there are not three.

    >>> jpeg_compression(torch.full((1, 1, 8, 8), 0.5), 5).unique() * 255
    tensor([128.])

    Source: ITU-T Recommendation T.81 (1992).
    """
    pixels = (255 * images).round()
    if images.shape[1] != COLORS:
        return coded(pixels, quanta(BRIGHTNESS, quality)) / 255
    bright, color = _parted(pixels).split([1, 2], 1)
    bright = coded(bright, quanta(BRIGHTNESS, quality))
    color = coded(halved(color), quanta(COLOR, quality))
    return _joined(bright, doubled(color, images.shape[2:])) / 255


def quanta(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Return the quanta at a quality from 1 to 100.

    >>> quanta(BRIGHTNESS, 80)[0, :3]
    tensor([6., 4., 4.], dtype=torch.float64)
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = torch.tensor(table) * percent + 50
    return (scaled // 100).clamp(1, 255).double()


def coded(planes: Tensor, quanta: Tensor) -> Tensor:
    """Return planes of values from 0 to 255 after the coefficients of their blocks are rounded.

    Both transforms keep 2 bits between columns and rows, as those of libjpeg do.

    >>> coded(torch.full((1, 1, 9, 9), 128.0), torch.ones(8, 8)).unique()
    tensor([128.])
    """
    height, width = planes.shape[2:]
    quanta = quanta.to(planes)
    padded = F.pad(planes - 128, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
    waves = _waves().to(planes)
    found = _rounded(waves @ _rounded(4 * blocks @ waves.T) / 4)
    found = found.sign() * (found.abs() / (8 * quanta) + 0.5).floor() * quanta
    blocks = _rounded(_rounded(4 * waves.T @ found) @ waves / 32)
    padded = blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return (padded[:, :, :height, :width] + 128).clamp(0, 255)


def _waves() -> Tensor:
    """Return √8 times the discrete cosine transform of eight numbers, which is orthogonal."""
    left = torch.tensor(COSINES, dtype=torch.float64) / 2**13
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(BLOCK // 2, 1)
    return torch.cat([left, signs * left.flip(1)], 1)


def _rounded(numbers: Tensor) -> Tensor:
    """Return the nearest integers; of a half, the one above."""
    return (numbers + 0.5).floor()


def _parted(pixels: Tensor) -> Tensor:
    """Return brightness, blueness and redness, Y, Cb and Cr, of red, green and blue.

    Weights have 16 bits after the point, so that sums are exact; a half is rounded up in Y alone.
    """
    bright = torch.tensor(LUMA, dtype=torch.float64)
    red, _, blue = torch.eye(COLORS, dtype=torch.float64)
    weights = torch.stack([bright, (blue - bright) / 1.772, (red - bright) / 1.402])
    weights = (2**16 * weights).round() / 2**16
    planes = torch.einsum("yc,nchw->nyhw", weights.to(pixels), pixels)
    below = 128.5 - 2**-16
    return (planes + pixels.new_tensor([0.5, below, below]).view(-1, 1, 1)).floor()


def _joined(bright: Tensor, color: Tensor) -> Tensor:
    """Return red, green and blue of brightness and colour."""
    blueness, redness = (color - 128).split(1, 1)
    red, blue = bright + 1.402 * redness, bright + 1.772 * blueness
    green = bright - (0.114 * 1.772 * blueness + 0.299 * 1.402 * redness) / 0.587
    return torch.cat([red, green, blue], 1).round().clamp(0, 255)


def halved(planes: Tensor) -> Tensor:
    """Return the means of 2 × 2 pixels; at a half they are rounded down and up in turn.

    Rows are filled up to blocks before, columns after, as libjpeg has it.
    """
    height, width = planes.shape[2:]
    filled = F.pad(planes, (0, -width % (2 * BLOCK), 0, height % 2), mode="replicate")
    means = F.avg_pool2d(filled, 2)
    return (means + _in_turn(means, 1 / 4, 2 / 4)).floor()


def doubled(planes: Tensor, sides: torch.Size) -> Tensor:
    """Return planes at twice the size, interpolated, cut to sides."""
    height, width = sides
    kept = planes[:, :, : (height + 1) // 2, : (width + 1) // 2]
    large = F.interpolate(kept, scale_factor=2, mode="bilinear", align_corners=False)
    return (large + _in_turn(large, 8 / 16, 7 / 16)).floor()[:, :, :height, :width]


def _in_turn(planes: Tensor, even: float, odd: float) -> Tensor:
    """Return numbers that are added to even and odd columns before all are rounded down."""
    return planes.new_tensor([even, odd]).repeat(planes.shape[3] // 2)
