"""What a run gives out, and who may listen."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import nn

from experiments.results.metric import Metric
from experiments.results.summary import Summary


@dataclass(frozen=True)
class Run:
    """A run as its observers see it; the model is the one that is trained, to be read alone.

    `title` names the task and the optimizer; the run begins after the step `begin`, 0 unless it is
    resumed; a step is of `batch` images, 0 without data; `models` gives the model, named "", and
    each average of its weights, by its name; `precision` the context in which it is called; `rate`
    the learning rate, the largest of several; `conditions` are what figures under attacks and on
    corrupted images are called by. Sharded weights are those of the last evaluation.
    """

    name: str
    title: str
    goal: Metric
    metrics: tuple[Metric, ...]
    begin: int
    steps: int
    batch: int
    folder: Path
    model: nn.Module
    models: Callable[[], Iterable[tuple[str, nn.Module]]]
    precision: Callable[[], AbstractContextManager[Any]]
    rate: Callable[[], float]
    conditions: tuple[str, ...] = ()


class Stepped(NamedTuple):
    """A step was made: the number of steps so far."""

    step: int


class Evaluated(NamedTuple):
    """The model was judged after `step` steps; `best` where the goal was never better.

    `notes` say what has set in since the evaluation before.
    """

    step: int
    metrics: dict[str, float]
    seconds: float
    best: bool
    notes: tuple[str, ...] = ()


Event = Stepped | Evaluated


class Observer(Protocol):
    """Listens to one run; it may subclass this and override what it needs.

    One that fails is reported, hears no more, and the run goes on. What one draws of torch's,
    python's and numpy's generators changes nothing of the run; one that `draws` nothing saves time.
    """

    draws: ClassVar[bool] = True

    def start(self, run: Run) -> None:
        """Hear that a run begins."""

    def on(self, event: Event) -> None:
        """Hear of a step or an evaluation."""

    def end(self, summary: Summary) -> None:
        """Hear what a run reached, of a failed one too."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it: tensors, numbers, text, and lists or dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, after the start of a run that is resumed."""
