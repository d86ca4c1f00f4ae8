"""What a task is: something to train, and a measure of how well that went."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Goal(NamedTuple):
    """The metric that a task is judged by, and which way is better."""

    metric: str
    mode: Literal["min", "max"]

    def better(self, new: float, old: float) -> bool:
        """Return whether `new` beats `old`."""
        return new > old if self.mode == "max" else new < old


class Task(Protocol):
    """The contract between a task and the loop.

    `network = False` says that what a task trains is no network, but points, say.
    """

    name: str
    goal: Goal
    model: nn.Module

    def prepare(self, device: torch.device, seed: int) -> None:
        """Make model and data on `device`, the same for the same seed."""
        ...

    def steps(self, trainer: Any) -> tuple[int, int]:
        """Return the number of steps to make, and how many lie between evaluations.

        `trainer` holds `epochs`, `steps` and `batch_size`, of which a task refuses what it has not.
        """
        ...

    def batches(self) -> Iterator[Any]:
        """Give batches without end."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Return what to minimise on a batch, a scalar."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Measure the model as it is now."""
        ...

    def draw(self, folder: Path) -> list[Path]:
        """Draw the task's own pictures into `folder` and return their paths."""
        ...
