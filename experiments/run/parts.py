"""What one config builds, before it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from experiments.data.batches import Batches
from experiments.data.contract import Data
from experiments.evaluation.robustness import Robustness
from experiments.observers.contract import Observer
from experiments.results.metric import Metric
from experiments.run.state import State
from experiments.run.trainer import Length, Trainer
from experiments.tasks.contract import Task


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and the state that it starts from.

    `name` is what the run is called, `model_name` what the network is, "" without data;
    `trained` is what is called in training: the model, or what several processes put around it.
    """

    name: str
    model_name: str
    task: Task
    data: Data | None
    batches: Batches | None
    trainer: Trainer
    robustness: Robustness
    length: Length
    observers: Mapping[str, Observer]
    device: torch.device
    seed: int
    state: State
    trained: nn.Module
    notes: tuple[str, ...]

    @property
    def goal(self) -> Metric:
        """Return what the run is judged and chosen by: on the valid part, where there is one."""
        return self.task.goal.on("valid" if self.data else "")
