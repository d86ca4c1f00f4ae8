"""What a task is: something to minimise, and a measure of how well that went."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from experiments.observers.contract import Observer
from experiments.results.metric import Metric


class Task(Protocol):
    """Has no model and no device: it is given both. It may subclass this.

    `metrics` are what `evaluate` returns, `goal` is the one of them that all goes by.
    """

    metrics: tuple[Metric, ...]
    goal: Metric

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return what to minimise on a batch, a scalar; a task without data is given None."""
        ...

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Measure a model on a part of the data; without data there are no batches."""
        ...

    def check(self, model: nn.Module, data: Any) -> Sequence[str]:
        """Refuse a model that does not answer as the task needs; return what should be noted."""
        return ()

    def observers(self, data: Any) -> Mapping[str, Observer]:
        """Return who draws the pictures of a task on its data, by name."""
        return {}


class WithoutData(Task):
    """A task that reads no data: it has a name, and says what its model is made from."""

    name: str

    @abstractmethod
    def offers(self) -> Mapping[str, Any]:
        """Return what the model's signature may ask for."""
