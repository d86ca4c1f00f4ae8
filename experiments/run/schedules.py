"""Schedules of the learning rates: a factor on every group's own rate, by the share of the run."""

from collections.abc import Callable, Sequence
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


@register.schedule
def step(
    step: int,
    steps: int,
    *,
    at: Sequence[float] = (0.5, 0.75),
    gamma: float = 0.1,
    warmup: float = 0.0,
) -> float:
    """Rise over the share `warmup` of the run, then fall to `gamma` of it at each share `at`.

    >>> from experiments.run import schedules
    >>> [round(schedules.step(step, 4), 3) for step in (0, 1, 2, 3)]
    [1.0, 1.0, 0.1, 0.01]
    """
    risen, _ = _phase(step, steps, warmup)
    return risen * gamma ** sum(step >= share * steps for share in at)


@register.schedule
def one_cycle(
    step: int, steps: int, *, rise: float = 0.3, start: float = 0.04, final: float = 4e-6
) -> float:
    """Rise from `start` on half a cosine over the share `rise`, then fall on one to `final`.

    >>> [round(one_cycle(step, 11, rise=0.5), 3) for step in (0, 4, 10)]
    [0.04, 0.971, 0.0]

    Source: Smith & Topin 2019, Super-convergence, arXiv:1708.07120.
    """
    top = _share("rise", rise) * steps - 1
    if step <= top:
        return _half_cosine(start, 1.0, step / top if top else 1.0)
    return _half_cosine(1.0, final, (step - top) / (steps - 1 - top))


@register.schedule
def wsd(
    step: int, steps: int, *, warmup: float = 0.0, decay: float = 0.2, final: float = 0.0
) -> float:
    """Rise over the share `warmup`, stay, and fall on a line to `final` over the last, `decay`.

    >>> [round(wsd(step, 10), 2) for step in (0, 8, 9)]
    [1.0, 1.0, 0.5]

    Source: Hägele et al. 2024, Scaling laws beyond fixed training durations, arXiv:2405.18392.
    """
    risen, _ = _phase(step, steps, warmup)
    left = (steps - step) / steps
    share = _share("decay", decay)
    return risen * (final + (1 - final) * min(1.0, left / share if share else 1.0))


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
    rising = _share("warmup", warmup) * steps
    if step < rising:
        return (step + 1) / (rising + 1), 0.0
    return 1.0, (step - rising) / (steps - rising)


def _half_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + cos(pi * share)) / 2


def _share(key: str, share: float) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise Refused(f"schedule.{key}", "a share of the run in [0, 1)", share)
    return share
