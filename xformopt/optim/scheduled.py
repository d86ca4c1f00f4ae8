"""Settings of groups that follow schedules.

A group holds its schedules under `schedules`, by the key of the setting, and counts its own steps
under `schedule_step`; where the setting stands, there is the number of the step.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from xformopt.optim.bound import Bound
from xformopt.optim.inner import as_number, check_values
from xformopt.refused import anew
from xformopt.schedules import Schedule, as_schedule, scaled
from xformopt.transforms.definition import Transform

Group = dict[str, Any]
Place = tuple[int, str]
"""The index of a group, and a key."""

SCHEDULES, STEP = "schedules", "schedule_step"
FACTORS = ("grad_scale", "grad_bias")
FUNCTIONS = ("lr", "weight_decay", "momentum", *FACTORS)
"""Keys, beside those of links, for which any function of the step is a schedule."""


class Scheduled:
    """Puts the numbers of the step where groups have schedules."""

    def __init__(self, chain: Iterable[Bound], inner: type[Optimizer]) -> None:
        """Note which settings are of links, and whose the others are: these check and round."""
        self._settings: dict[str, tuple[Transform, str]] = {
            key: (bound.transform, name)
            for bound in chain
            for name, key in bound.keys.items()
            if name in bound.transform.settings
        }
        self._inner = inner
        self._capturable: list[bool | None] = []
        self._put: dict[tuple[int, str], Any] = {}
        self.paused = False

    def take(self, group: Group) -> None:
        """Keep the schedules that were put into a group aside, and put their numbers there."""
        new = {k: as_schedule(v) for k, v in group.items() if self._is_schedule(k, v)}
        if new:
            group[SCHEDULES] = {**group.get(SCHEDULES, {}), **new}
            group.setdefault(STEP, 0)
            group.update({key: self._at(key, new[key], group[STEP]) for key in new})

    def put(self, group: Group) -> None:
        """Put the numbers of the group's step where they belong."""
        for key, schedule in group.get(SCHEDULES, {}).items():
            group[key] = self._at(key, schedule, group[STEP])

    def places(self, groups: list[Group]) -> set[Place]:
        """Return the index of the group and the key of each setting that follows a schedule."""
        return {(i, key) for i, group in enumerate(groups) for key in group.get(SCHEDULES, ())}

    def check(self, group: Group) -> None:
        """Check where the schedules of a group begin and end; those of links have been checked."""
        for key, schedule in group.get(SCHEDULES, {}).items():
            for step in {0, schedule.last} if key not in self._settings else ():
                self._at(key, schedule, step)

    def follow(self, groups: list[Group]) -> None:
        """Put the numbers of the step there; a number that was put there meanwhile stays."""
        if self.paused:
            return
        traced = torch.compiler.is_compiling()
        if not traced:
            self.leave_to_others(groups)
        for group in groups:
            self.take(group)
            self.put(group)
        if traced:
            self._put = {}  # the numbers are the program's, which makes others of them
        else:
            self.note(groups)

    def leave_to_others(self, groups: list[Group]) -> None:
        """End schedules of settings that hold something else than was put there: an assigned one.

        It is told by what it is, not by its value: the same number, assigned anew, is another.
        """
        for group in groups:
            schedules = group.get(SCHEDULES, {})
            for key in schedules:
                if group[key] is not self._put.get((id(group), key), group[key]):
                    group[SCHEDULES] = {k: s for k, s in group[SCHEDULES].items() if k != key}

    def go_on(self, groups: list[Group]) -> None:
        """Put the numbers of the step into groups that were loaded."""
        for group in groups:
            self.put(group)
        self.note(groups)

    def note(self, groups: list[Group]) -> None:
        """Note the numbers that were put there, and what torch's compiler is going to change."""
        self._put = {(id(g), key): g[key] for g in groups for key in g.get(SCHEDULES, ())}
        self._capturable = [group.get("capturable") for group in groups]

    def count(self, groups: list[Group]) -> None:
        """Count a step."""
        if self.paused:
            return
        for group in groups:
            if group.get(SCHEDULES):
                group[STEP] += 1
        if torch.compiler.is_compiling():
            self._restore_capturable(groups)

    def scale_lr(self, group: Group, factor: float) -> None:
        """Multiply the learning rate of a group, or its schedule."""
        schedules = group.get(SCHEDULES, {})
        if "lr" in schedules:
            group[SCHEDULES] = {**schedules, "lr": scaled(schedules["lr"], factor)}
        group["lr"] = group["lr"] * factor

    def _is_schedule(self, key: str, value: Any) -> bool:
        is_function = "." in key or key in FUNCTIONS
        return callable(value) if is_function else type(value) is Schedule

    def _at(self, key: str, schedule: Schedule, step: int) -> Any:
        if key in self._settings:
            transform, name = self._settings[key]
            return transform.settings[name].at(schedule, step)
        number = schedule(step)
        if not torch.compiler.is_compiling():
            self._check(key, number, f"at step {step} of {schedule!r}")
        return number

    def _check(self, key: str, number: Any, where: str) -> None:
        try:
            if key in FACTORS:
                as_number(key, number)
            check_values(self._inner, {key: number})
        except (TypeError, ValueError) as error:
            raise anew(error, f"{error} {where}; bound the schedule") from None

    def _restore_capturable(self, groups: list[Group]) -> None:
        """Undo what torch's compiler does to the groups of an optimizer that it traces.

        There `capturable` is True, which it would leave in the groups that were written to.
        """
        for group, before in zip(groups, self._capturable, strict=False):
            if group.get(SCHEDULES) and before is None:
                group.pop("capturable", None)
            elif group.get(SCHEDULES):
                group["capturable"] = before


def split_schedules(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Schedule]]:
    """Return settings with the first number of each schedule in its place, and the schedules.

    >>> from xformopt.schedules import linear
    >>> split_schedules({"lr": linear(0.1, 0.0, steps=10), "momentum": 0.9})
    ({'lr': 0.1, 'momentum': 0.9}, {'lr': linear(0.1, 0.0, steps=10)})
    """
    held = {k: as_schedule(v) if k in FUNCTIONS else v for k, v in settings.items()}
    schedules = {k: v for k, v in held.items() if isinstance(v, Schedule)}
    return {**held, **{k: schedule(0) for k, schedule in schedules.items()}}, schedules
