"""Noise: numbers that are drawn for each entry."""

import torch
from torch import Generator, Tensor

from xformopt.perturbations.corruptions.registry import corruption


@corruption({
    32: [0.04, 0.06, 0.08, 0.09, 0.10],
    64: [0.04, 0.08, 0.12, 0.15, 0.18],
    224: [0.08, 0.12, 0.18, 0.26, 0.38],
})  # fmt: skip
def gaussian_noise(images: Tensor, generator: Generator, std: float) -> Tensor:
    """Normal noise, as of a sensor in low light.

    x ← x + std · n

    >>> grey, generator = torch.full((1, 1, 32, 32), 0.5), torch.Generator().manual_seed(0)
    >>> round(gaussian_noise(grey, 5, generator).std().item(), 2)
    0.1
    """
    return images + std * _normal(images, generator)


@corruption({
    32: [500, 250, 100, 75, 50],
    64: [250, 100, 50, 30, 15],
    224: [60, 25, 12, 5, 3],
})  # fmt: skip
def shot_noise(images: Tensor, generator: Generator, photons: int) -> Tensor:
    """Poisson noise, since light comes in photons, so many for an entry of 1.

    x ← Poisson(photons · x) / photons

    >>> grey, generator = torch.full((1, 1, 32, 32), 0.5), torch.Generator().manual_seed(0)
    >>> round(shot_noise(grey, 5, generator).std().item(), 2)
    0.1
    """
    return torch.poisson(photons * images, generator=generator) / photons


@corruption({
    32: [0.01, 0.02, 0.03, 0.05, 0.07],
    64: [0.01, 0.02, 0.05, 0.08, 0.14],
    224: [0.03, 0.06, 0.09, 0.17, 0.27],
})  # fmt: skip
def impulse_noise(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Salt and pepper: a share of the entries becomes 0 or 1, as by errors in bits.

    >>> grey, generator = torch.full((1, 1, 32, 32), 0.5), torch.Generator().manual_seed(0)
    >>> impulse_noise(grey, 1, generator).unique()
    tensor([0.0000, 0.5000, 1.0000])
    """
    hit, salt = torch.empty_like(images), torch.empty_like(images)
    hit.uniform_(generator=generator)
    salt.uniform_(generator=generator)
    return torch.where(hit < share, (salt < 0.5).to(images.dtype), images)


@corruption({
    32: [0.06, 0.10, 0.12, 0.16, 0.20],
    64: [0.15, 0.20, 0.25, 0.30, 0.35],
    224: [0.15, 0.20, 0.35, 0.45, 0.60],
})  # fmt: skip
def speckle_noise(images: Tensor, generator: Generator, std: float) -> Tensor:
    """Normal noise that grows with the entry.

    x ← x + std · n · x

    >>> grey, generator = torch.full((1, 1, 32, 32), 0.5), torch.Generator().manual_seed(0)
    >>> round(speckle_noise(grey, 5, generator).std().item(), 2)
    0.1
    """
    return images + std * images * _normal(images, generator)


def _normal(images: Tensor, generator: Generator) -> Tensor:
    return torch.empty_like(images).normal_(generator=generator)
