"""Training on images that a single random step moves."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from experiments import register
from experiments.adversarial.madry import Madry
from xformopt.perturbations import pgd_linf

REACH = 1.25
"""The length of the step, in radii."""


class Fast(Madry):
    """Takes one step of the sign from a random start: δ = clip(u + α sign ∇ loss), α = 1.25 ε.

    The step asks the network as it trains, so that batch norm goes by the batch and averages the
    moments of both images. At each evaluation it is watched for catastrophic overfitting.

    Args:
        epsilon: the radius in l∞, as 0.03 or 8/255.
        step_size: α; None: 1.25 epsilon.

    Source: Wong et al. 2020, Fast is better than free: revisiting adversarial training, ICLR.
    """

    def __init__(
        self, epsilon: float | str = "8/255", step_size: float | str | None = None
    ) -> None:
        """Make the attack."""
        at = pgd_linf(epsilon=epsilon).epsilon
        size = REACH * at if step_size is None else step_size
        super().__init__(pgd_linf(epsilon=at, steps=1, step_size=size))

    def mode(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return a context that leaves the network as it trains."""
        return nullcontext()


register.adversarial(Fast, name="fast")
