"""Schedules of the learning rates: a factor on every group's own rate, by the share of the run."""

from collections.abc import Callable
from math import cos, inf, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from experiments import register
from xformopt.refused import Refused

Schedule = Callable[[int, int], float]
"""The factor `f(step, steps)` of the step that is made after `step` of `steps`."""


@register.schedule
def constant(step: int, steps: int) -> float:
    """Keep the rates as they are."""
    return 1.0


@register.schedule
def linear(step: int, steps: int, *, warmup: float = 0.0, final: float = 0.0) -> float:
    """Rise over the share `warmup` of the run, then fall on a line to `final`.

    >>> [linear(step, 4) for step in (0, 1, 2, 3)]
    [1.0, 0.75, 0.5, 0.25]
    """
    risen, share = _phase(step, steps, warmup)
    return risen * (final + (1 - final) * (1 - share))


@register.schedule
def cosine(step: int, steps: int, *, warmup: float = 0.0, final: float = 0.0) -> float:
    """Rise over the share `warmup` of the run, then fall on half a cosine to `final`.

    >>> [round(cosine(step, 4), 3) for step in (0, 2, 3)]
    [1.0, 0.5, 0.146]

    Source: Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983.
    """
    risen, share = _phase(step, steps, warmup)
    return risen * (final + (1 - final) * (1 + cos(pi * share)) / 2)


def scheduler(optimizer: Optimizer, schedule: Schedule, steps: int) -> LambdaLR | None:
    """Return what moves the rates of an optimizer; nothing does where they are constant."""
    if getattr(schedule, "func", schedule) is constant:
        return None
    return LambdaLR(optimizer, lambda step: _factor(schedule, min(step, steps), steps))


def _factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the factor of a step, which must be a number of its kind."""
    factor: Any = schedule(step, steps)
    if not isinstance(factor, int | float) or not 0 <= factor < inf:
        rule = f"a function of step and steps that returns a number >= 0, at step {step} too"
        raise Refused("schedule", rule, factor)
    return factor


def _phase(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """Return the share of the warm-up that is done, and that of the rest."""
    if isinstance(warmup, bool) or not isinstance(warmup, int | float) or not 0 <= warmup < 1:
        raise Refused("schedule.warmup", "a share of the run in [0, 1)", warmup)
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1), 0.0
    return 1.0, (step - rising) / (steps - rising)
