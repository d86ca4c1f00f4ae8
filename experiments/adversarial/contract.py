"""What adversarial training is: another loss of a batch, whose images an attack moves first."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Generator, Tensor, nn

from experiments.adversarial.clock import Clock
from experiments.data.batches import Batch
from experiments.data.contract import Data

Loss = Callable[[Any, Batch], Tensor]
"""The loss of a task: of a network, or what answers images in its place, and a batch."""


class Trained(NamedTuple):
    """What is trained: the loss, what is called for it, the network behind, what numbers come from.

    Under several processes `called` averages gradients, and `model` answers alone.
    """

    loss: Loss
    called: nn.Module
    model: nn.Module
    generator: Generator


class Adversarial:
    """Trains against attacks; `clock` counts the time that is spent in them."""

    def __init__(self, replays: int = 1) -> None:
        """Begin, with no time spent; `replays` steps are made with each batch."""
        self.replays, self.clock = replays, Clock()

    def loss(self, trained: Trained, batch: Batch) -> Tensor:
        """Return what is minimised on a batch."""
        raise NotImplementedError

    def check(self, data: Data) -> None:
        """Refuse what does not fit the data."""

    def watch(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Return what shows, at an evaluation, whether robustness is real; by default nothing."""
        return {}

    def remarks(self) -> list[str]:
        """Return what should be known of how training went."""
        return []

    def __repr__(self) -> str:
        """Show what it is called."""
        return type(self).__name__.lower()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"seconds": self.clock.seconds()}

    def load_state_dict(self, held: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.clock.spent = held["seconds"]
