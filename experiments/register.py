"""Where the launcher's parts are registered: hydra-zen's `store`, a group for each kind.

A decorated function or class becomes an option of its group, under its own name; its config node,
and so what the command line can set, follows from its signature. What a part is given by the run
comes first in its signature and has no default.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeVar, get_args

from hydra_zen import store

from experiments.results.metric import Mode, Scale
from experiments.results.report import columns
from experiments.results.report.columns import Column
from xformopt.refused import Refused

Part = TypeVar("Part", bound=Callable[..., Any])

MANY = ("task/metrics", "observers", "logger", "augment", "eval/attacks")
"""The groups of which several options may be chosen, in a list."""


def data(part: Part) -> Part:
    """Register a data set: `data=NAME`; it returns what `experiments.data.contract` says."""
    return _store(part, "data")


def augmentation(part: Part) -> Part:
    """Register a change of training images: `'augment=[NAME]'`, `f(images, generator)`."""
    return _store(part, "augment", zen_partial=True)


def model(part: Part) -> Part:
    """Register a model: `model=NAME`; of `shape`, `classes`, … it is given what it asks for."""
    return _store(part, "model", zen_partial=True)


def task(part: Part, name: str | None = None) -> Part:
    """Register a task: `task=NAME`.

    A class may say, as `choices`, which groups below `task` its arguments are chosen from, and
    which options are the defaults: `{"metrics": ["loss"]}`.
    """
    choices: Mapping[str, Any] = getattr(part, "choices", {})
    defaults = [{group: options} for group, options in choices.items()]
    empty: dict[str, Any] = {group: {} for group in choices}
    named = {"name": name} if name else {}
    return _store(part, "task", **named, hydra_defaults=[*defaults, "_self_"], **empty)


def toy(optim: Any = "toy_adam") -> Any:
    """Register a toy, a task without data whose model is its points, and its default optimizer."""
    if callable(optim):
        return toy()(optim)
    others = {"trainer": "toy", "model": "points", "optim": optim}
    preset = [
        "_self_",
        *({f"override /{group}@_global_.{group}": name} for group, name in others.items()),
    ]
    return lambda part: _store(part, "task", hydra_defaults=preset)


def schedule(part: Part) -> Part:
    """Register a schedule of the learning rates: `schedule=NAME`, a factor `f(step, steps)`."""
    return _store(part, "schedule", zen_partial=True)


def metric(
    mode: Mode, scale: Scale = "linear", limit: float | None = None
) -> Callable[[Part], Part]:
    """Register a metric of classifiers: `'task/metrics=[NAME]'`, a number `f(logits, labels)`.

    No figure is better than the `limit`, 1 for an accuracy.
    """
    if mode not in get_args(Mode):
        raise Refused("mode", '"min" or "max"', mode, '`@register.metric("max")`')

    if limit is not None and not (isinstance(limit, int | float) and isfinite(limit)):
        raise Refused("limit", "a number, which no figure is better than, or None", limit)

    def decorate(part: Part) -> Part:
        vars(part).update(mode=mode, scale=scale, limit=limit)
        return _store(part, "task/metrics", zen_partial=True)

    return decorate


def adversarial(part: Part, name: str | None = None) -> Part:
    """Register a way to train against attacks: `trainer.adversarial=NAME`."""
    named = {"name": name} if name else {}
    return _store(part, "trainer/adversarial", package="trainer.adversarial", **named)


def observer(part: Part) -> Part:
    """Register an observer: `'observers=[NAME]'`."""
    return _store(part, "observers")


def column(part: Column) -> Column:
    """Register a column of reports: a number or text of the finished runs of a contender."""
    return columns.column(part)


def logger(part: Part, name: str | None = None) -> Part:
    """Register a tracker, an observer that tells another program: `'logger=[NAME]'`."""
    return _store(part, "logger", **({"name": name} if name else {}))


def _store(part: Part, group: str, **node: Any) -> Part:
    """Store a part in its group; where several may be chosen, below the group's key."""
    name = node.setdefault("name", part.__name__)
    if group in MANY:
        node["package"] = f"{group.replace('/', '.')}.{name}"
    try:
        return store(part, group=group, **node)
    except ValueError as error:
        says = f"`{group}={name}`: there is one of this name; rename that of {part.__module__}"
        raise Refused(says) from error
