"""Who listens to a run: what its config says, beside the launcher's own."""

from collections.abc import Mapping
from typing import Any

from experiments.data.contract import Data
from experiments.observers.console import console
from experiments.observers.contract import Observer
from experiments.observers.curves import Curves
from experiments.observers.weights import Weights
from experiments.run.trainer import Trainer
from experiments.tasks.contract import Task
from xformopt.refused import Refused


def observers_of(
    task: Task, data: Data | None, trainer: Trainer, own: Mapping[str, Any], *, pictures: bool
) -> dict[str, Observer]:
    """Return all who listen, by name; a user's `own` have names that the launcher's have not."""
    ours: dict[str, Observer] = {"console": console()}
    if trainer.checkpoint != "none":
        ours["weights"] = Weights(trainer.checkpoint)
    if pictures:
        ours["curves"] = Curves()
        ours |= getattr(task, "observers", _none)(data)
    for name, observer in own.items():
        if name in {"files", "weights", *ours}:
            raise Refused(f"observers.{name}", "of another name, which is the launcher's own", name)
        if not all(callable(getattr(observer, method, None)) for method in ("start", "on", "end")):
            rule = "an observer, with `start`, `on` and `end`"
            raise Refused(f"observers.{name}", rule, observer)
    return {**ours, **own}


def _none(data: Data | None) -> dict[str, Observer]:
    return {}
