"""Where the launcher's parts are registered: hydra-zen's `store`, a group for each kind.

A decorated function or class becomes an option of its group, under its own name; its config node,
and so what the command line can set, follows from its signature. What a part is given by the run
comes first in its signature and has no default.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from hydra_zen import store

from experiments.results.metric import Mode, Scale

Part = TypeVar("Part", bound=Callable[..., Any])


def data(part: Part) -> Part:
    """Register a data set: `data=NAME`; it returns what `experiments.data.contract` says."""
    return store(part, group="data")


def model(part: Part) -> Part:
    """Register a model: `model=NAME`; of `shape`, `classes`, … it is given what it asks for."""
    return store(part, group="model", zen_partial=True)


def task(part: Part) -> Part:
    """Register a task: `task=NAME`."""
    return store(part, group="task")


def toy(optim: str = "toy_adam") -> Callable[[Part], Part]:
    """Register a toy, a task without data whose model is its points, and its default optimizer."""
    others = {"trainer": "toy", "model": "points", "optim": optim}
    preset = [
        "_self_",
        *({f"override /{group}@_global_.{group}": name} for group, name in others.items()),
    ]
    return lambda part: store(part, group="task", hydra_defaults=preset)


def schedule(part: Part) -> Part:
    """Register a schedule of the learning rates: `schedule=NAME`, a factor `f(step, steps)`."""
    return store(part, group="schedule", zen_partial=True)


def metric(mode: Mode, scale: Scale = "linear") -> Callable[[Part], Part]:
    """Register a metric of classifiers: `'task/metrics=[NAME]'`, a number `f(logits, labels)`."""

    def decorate(part: Part) -> Part:
        vars(part).update(mode=mode, scale=scale)
        return store(
            part, group="task/metrics", package=f"task.metrics.{part.__name__}", zen_partial=True
        )

    return decorate


def observer(part: Part) -> Part:
    """Register an observer: `'observers=[NAME]'`."""
    return store(part, group="observers", package=f"observers.{part.__name__}")
