"""Who listens to a run: what its config says, beside the launcher's own."""

from collections.abc import Mapping
from typing import Any

from experiments.data.contract import Data
from experiments.evaluation.examples import examples
from experiments.evaluation.robustness import Robustness
from experiments.observers.attacked import Attacked
from experiments.observers.console import console
from experiments.observers.contract import Observer
from experiments.observers.curves import Curves
from experiments.observers.robustness import RobustnessCurves
from experiments.observers.weights import Weights
from experiments.run.trainer import Trainer
from experiments.tasks.contract import Task
from xformopt.refused import Refused


def observers_of(
    task: Task,
    data: Data | None,
    trainer: Trainer,
    chosen: Mapping[str, Mapping[str, Any]],
    *,
    robustness: Robustness,
    pictures: bool,
) -> dict[str, Observer]:
    """Return all who listen, by name; those `chosen` of each group have names of their own."""
    ours: dict[str, Observer] = {"console": console()}
    if trainer.checkpoint != "none":
        ours["weights"] = Weights(trainer.checkpoint)
    if pictures:
        ours["curves"] = Curves()
        ours |= getattr(task, "observers", _none)(data)
        ours |= _of_robustness(robustness, data)
    for group, own in chosen.items():
        for name, observer in own.items():
            _check(f"{group}.{name}", name, observer, {"files", "weights", *ours})
        ours |= own
    return ours


def _of_robustness(robustness: Robustness, data: Data | None) -> dict[str, Observer]:
    """Return who draws what attacks and corruptions do to what was trained."""
    if not (robustness and data):
        return {}
    found: dict[str, Observer] = {"robustness": RobustnessCurves()}
    attacks = [one for one in robustness.conditions(data) if one.kind == "attack"]
    if attacks:
        largest = max(attacks, key=lambda one: one.level)
        test = robustness.part(data.test)
        said = f"{largest.name} of epsilon {largest.level:.4g}"
        found["attacked"] = Attacked(said, lambda m: examples(m, test, largest), data.names)
    return found


def _check(key: str, name: str, observer: Any, taken: set[str]) -> None:
    if name in taken:
        raise Refused(key, "of a name that no other observer has", name)
    if not all(callable(getattr(observer, method, None)) for method in ("start", "on", "end")):
        raise Refused(key, "an observer, with `start`, `on` and `end`", observer)


def _none(data: Data | None) -> dict[str, Observer]:
    return {}
