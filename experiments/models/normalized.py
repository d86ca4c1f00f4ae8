"""A network behind the normalisation of its pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """Takes images in [0, 1], so that whoever changes them does so in pixel space.

    With `channels_last` the network is given them so in memory, by which convolutions are faster.
    Of a network that answers with an object, as those of `transformers` do, `logits` are taken.

    >>> Normalized(nn.Flatten(), mean=[0.5], std=[0.25])(torch.ones(1, 1, 1, 2))
    tensor([[2., 2.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Hold the network, and mean and standard deviation of each channel."""
        super().__init__()
        self.net = net
        self.channels_last = False
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        normalized = (images - self.mean) / self.std
        if self.channels_last:
            normalized = normalized.clone(memory_format=torch.channels_last)
        answer = self.net(normalized)
        return getattr(answer, "logits", answer)
