"""Schedules: settings of links that follow the step.

Given where a number would stand: `top_q(q=linear(0.0, 0.9, steps=1000))`, or in YAML
`q: {_target_: xformopt.schedules.linear, start: 0.0, end: 0.9, steps: 1000}`. Any function of the
step will do: `top_q(q=lambda step: 1 - 0.99**step)`.
"""

import math
from collections.abc import Callable
from typing import Any

from xformopt.refused import Refused


class Schedule:
    """A function of the step, counted from 0, with the call that made it for its name.

    >>> linear(0.0, 1.0, steps=4)
    linear(0.0, 1.0, steps=4)
    """

    def __init__(self, function: Callable[..., float], *args: float, **kwargs: float) -> None:
        """Keep a function of `(step, *args, **kwargs)`."""
        self.function, self.args, self.kwargs = function, args, kwargs

    @property
    def last(self) -> int:
        """The step from which on the value stays; 0 where it is not known."""
        return int(self.kwargs.get("steps", 0))

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        return self.function(step, *self.args, **self.kwargs)

    def __repr__(self) -> str:
        """Show the call that makes it."""
        given = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs.items())]
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"{name.removeprefix('_')}({', '.join(given)})"

    def __eq__(self, other: Any) -> bool:
        """Compare by function and arguments."""
        return isinstance(other, Schedule) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Hash by function and positional arguments."""
        return hash((self.function, self.args))


def as_schedule(value: Any) -> Any:
    """Return a schedule for a function of the step, and anything else as it is.

    >>> as_schedule(lambda step: 0.5**step)(2), as_schedule(0.5)
    (0.25, 0.5)
    """
    if isinstance(value, Schedule | type) or not callable(value):
        return value
    function: Any = value
    return Schedule(function)


def linear(start: float, end: float, *, steps: int) -> Schedule:
    """Go from `start` to `end` in a straight line, and stay there.

    >>> [linear(0.0, 1.0, steps=4)(t) for t in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return Schedule(_linear, start, end, steps=_checked(steps))


def cosine(start: float, end: float, *, steps: int) -> Schedule:
    """Go from `start` to `end` along half a cosine, and stay there.

    >>> [round(cosine(1.0, 0.0, steps=4)(t), 3) for t in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """
    return Schedule(_cosine, start, end, steps=_checked(steps))


def exponential(start: float, *, rate: float) -> Schedule:
    """Multiply by `rate` each step.

    >>> [exponential(8.0, rate=0.5)(t) for t in (0, 1, 3)]
    [8.0, 4.0, 1.0]
    """
    return Schedule(_exponential, start, rate=rate)


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """Multiply a schedule by a number.

    >>> [scaled(linear(0.0, 1.0, steps=4), 2.0)(t) for t in (0, 2, 9)]
    [0.0, 1.0, 2.0]
    """
    ends = {"steps": schedule.last} if schedule.last else {}
    return Schedule(_scaled, schedule, factor, **ends)  # type: ignore[arg-type]


def _linear(step: int, start: float, end: float, *, steps: int) -> float:
    return start + (end - start) * min(step / steps, 1.0)


def _cosine(step: int, start: float, end: float, *, steps: int) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2


def _exponential(step: int, start: float, *, rate: float) -> float:
    return start * rate**step


def _scaled(step: int, schedule: Schedule, factor: float, *, steps: int = 0) -> float:
    return schedule(step) * factor


def _checked(steps: int) -> int:
    if not isinstance(steps, int) or steps < 1:
        raise Refused(f"`steps` of a schedule must be an int >= 1, got {steps!r}")
    return steps
