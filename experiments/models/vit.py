"""Vision transformers."""

import torch
from torch import Tensor, nn

from experiments import register
from xformopt.refused import Refused, check_count


@register.model
def vit(
    shape: torch.Size,
    classes: int,
    patch: int = 4,
    width: int = 192,
    depth: int = 6,
    heads: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """Return a small vision transformer: patches as tokens, their mean at the end.

    >>> vit(torch.Size((1, 8, 8)), 10, width=12)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, with the mean in place of a class token as in
    Beyer et al. 2022, arXiv:2205.01580.
    """
    channels, height, across = shape
    for key, value in {"patch": patch, "width": width, "depth": depth, "heads": heads}.items():
        check_count(key, value)
    if height % patch or across % patch:
        raise Refused("patch", f"a divisor of both sides, {height} and {across}", patch)
    if width % heads:
        raise Refused("heads", f"a divisor of `width`, {width}", heads)
    tokens = (height // patch) * (across // patch)
    return VisionTransformer(channels, classes, tokens, patch, width, depth, heads, dropout)


class VisionTransformer(nn.Module):
    """Embeds patches, adds learnt positions, applies pre-norm blocks, and reads off the mean."""

    def __init__(
        self,
        channels: int,
        classes: int,
        tokens: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        """Make the parts."""
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        blocks = [
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks, nn.LayerNorm(width))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.blocks(tokens).mean(1))
