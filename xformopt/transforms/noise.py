"""Noise."""

import torch
from torch import Generator, Tensor

from xformopt.transforms.items import elapsed
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative


@transform(state={"step": "counter"}, items="entry")
def gradient_noise(
    grad: Tensor,
    step: Tensor,
    *,
    variance: NonNegative = 0.01,
    decay: NonNegative = 0.55,
    generator: Generator | None = None,
) -> None:
    """Add Gaussian noise whose variance falls with the steps.

    g ← g + σ ε, ε ~ N(0, 1), σ² = variance / (1 + t)^decay

    >>> import torch
    >>> g = torch.zeros(1, 2)
    >>> gradient_noise.fn(g, torch.tensor(0.0), variance=0.0)
    >>> g
    tensor([[0., 0.]])

    Source: Neelakantan et al. 2015, Adding Gradient Noise, arXiv:1511.06807.
    """
    device = generator.device if generator else grad.device
    noise = torch.randn(grad.shape, generator=generator, device=device, dtype=torch.float32)
    sigma = (variance / (1 + elapsed(step)) ** decay) ** 0.5
    step.add_(1)
    grad.add_(noise.to(grad).mul_(sigma))
