"""Who listens to a run: what its config says, beside the launcher's own."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from experiments.data.contract import Data
from experiments.evaluation.examples import examples
from experiments.evaluation.robustness import Robustness
from experiments.observers.attacked import Attacked
from experiments.observers.console import console
from experiments.observers.contract import Observer
from experiments.observers.curves import Curves
from experiments.observers.robustness import RobustnessCurves
from experiments.observers.telemetry import Telemetry
from experiments.observers.weights import Weights
from experiments.run.trainer import Trainer
from experiments.run.watching import is_compiled
from experiments.tasks.contract import Task
from xformopt.refused import Refused, check_count

EVERY = 10
"""So many steps lie between two that are watched, unless another number is given."""


def observers_of(
    task: Task,
    data: Data | None,
    trainer: Trainer,
    robustness: Robustness,
    *,
    pictures: bool,
) -> dict[str, Observer]:
    """Return the launcher's own observers, by name."""
    ours: dict[str, Observer] = {"console": console()}
    if trainer.checkpoint != "none":
        ours["weights"] = Weights(trainer.checkpoint)
    if pictures:
        ours["curves"] = Curves()
        ours |= getattr(task, "observers", _none)(data)
        ours |= _of_robustness(robustness, data)
    return ours


def check_names(ours: Mapping[str, Observer], chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what is no observer, and one that has the name of another."""
    taken = {"files", "weights", *ours}
    for group, own in chosen.items():
        for name, observer in own.items():
            _check(f"{group}.{name}", name, observer, taken)
        taken |= own.keys()


def telemetry(asked: Any, optimizer: Optimizer, strategy: str) -> dict[str, Observer]:
    """Return who tells what links and steps do: each so many steps, or True, or False for nobody.

    Raises:
        Refused: where links cannot be watched: in compiled steps, and where they see shares alone.
    """
    if asked is False:
        return {}
    every = EVERY if asked is True else asked
    check_count("telemetry", every)
    if strategy == "fsdp":
        raise Refused(
            "telemetry", "false for `trainer.strategy=fsdp`, whose ranks see shares", asked
        )
    if is_compiled(optimizer):
        rule = "false for compiled steps, whose links cannot be watched"
        raise Refused("telemetry", rule, asked, "`optim.compile=false`")
    return {"telemetry": Telemetry(optimizer, every)}


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
