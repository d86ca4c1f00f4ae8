"""The points that a toy moves."""

import torch
from torch import Tensor, nn

from experiments import register


class Points(nn.Module):
    """N points of shape `(N, d)`: one parameter, so that each is an item; or one `(1, d)` each."""

    def __init__(self, x: Tensor, *, apart: bool = False) -> None:
        """Hold the points."""
        super().__init__()
        held = x.detach().clone()
        self.x = nn.ParameterList(held.split(1)) if apart else nn.Parameter(held)

    def forward(self) -> Tensor:
        """Return where they are, shape `(N, d)`."""
        return torch.cat(tuple(self.x)) if isinstance(self.x, nn.ParameterList) else self.x

    def apart(self) -> "Points":
        """Return the same points, a parameter each, of which no optimizer makes one matrix."""
        return Points(self(), apart=True)


@register.model
def points(shape: torch.Size, low: float, high: float) -> Points:
    """Return points drawn uniformly from a box, by torch's own generator."""
    return Points(low + (high - low) * torch.rand(shape))
