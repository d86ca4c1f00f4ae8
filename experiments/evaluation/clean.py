"""What a model answers on images as they are."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from experiments.data.batches import Batch


@torch.no_grad()
def outputs(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return logits and labels of all batches, one after the other."""
    pairs = [(model(images).float(), labels) for images, labels in batches]
    logits, labels = zip(*pairs, strict=True)
    return torch.cat(logits), torch.cat(labels)
