"""Steps of one optimizer inside of another's."""

import functools
import inspect
from typing import Any

import torch
from torch.optim import Optimizer


@functools.cache
def evaluates_once(cls: type[Optimizer]) -> bool:
    """Return whether a step calls its closure once, before all else: ours, and most of torch's.

    >>> evaluates_once(torch.optim.SGD), evaluates_once(torch.optim.LBFGS)
    (True, False)
    """
    optional = inspect.signature(cls.step).parameters["closure"].default is None
    return cls.__module__.startswith(("torch.optim.", "xformopt.")) and optional


def has_step_hooks(optimizer: Optimizer) -> bool:
    """Return whether somebody has registered hooks of this optimizer's steps."""
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def step_inside(optimizer: Optimizer, *closure: Any) -> Any:
    """Make a step of an optimizer in another's: with hooks of its own, without the global ones.

    These are called around the outer step. Under a compiler it goes past all wrappers, since torch
    breaks graphs there.
    """
    step: Any = type(optimizer).step
    if torch.compiler.is_compiling():
        while hasattr(step, "__wrapped__"):
            step = step.__wrapped__
        with torch.no_grad():
            return step(optimizer, *closure)
    if "step" in vars(optimizer):  # somebody, such as a scheduler, has put a function there
        return optimizer.step(*closure)
    if getattr(step, "hooked", False):
        step = step.__wrapped__
    arguments: Any = (optimizer, *closure)
    for hook in optimizer._optimizer_step_pre_hooks.values():
        changed = hook(optimizer, arguments, {})
        arguments = changed[0] if changed is not None else arguments
    returned = step(*arguments)
    for hook in optimizer._optimizer_step_post_hooks.values():
        hook(optimizer, arguments, {})
    return returned
