"""Settings of groups that follow schedules.

A group holds its schedules under `schedules`, by the key of the setting, and counts its own steps
under `schedule_step`; where the setting stands, there is the number of the step.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from xformopt.optim.bound import Bound
from xformopt.schedules import Schedule, as_schedule, scaled
from xformopt.transforms.registry import Transform

Group = dict[str, Any]
Place = tuple[int, str]
"""The index of a group, and a key."""

SCHEDULES, STEP = "schedules", "schedule_step"
FUNCTIONS = ("lr", "weight_decay", "momentum", "grad_scale", "grad_bias")
"""Keys, beside those of links, for which any function of the step is a schedule."""


class Scheduled:
    """Puts the numbers of the step where groups have schedules."""

    def __init__(self, chain: Iterable[Bound]) -> None:
        """Note which settings are of links, which check and round them."""
        self._settings: dict[str, tuple[Transform, str]] = {
            key: (bound.transform, name)
            for bound in chain
            for name, key in bound.keys.items()
            if name in bound.transform.settings
        }
        self._capturable: list[bool | None] = []
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

    def follow(self, groups: list[Group]) -> None:
        """Put the numbers of the step there; a number that was put there meanwhile stays."""
        if self.paused:
            return
        for group in groups:
            self.take(group)
            if group.get(SCHEDULES):
                if not torch.compiler.is_compiling():
                    self._leave_to_others(group)
                self.put(group)
        if not torch.compiler.is_compiling():
            self.note(groups)

    def note(self, groups: list[Group]) -> None:
        """Note what torch's compiler is going to change in the groups."""
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

    def _leave_to_others(self, group: Group) -> None:
        """End schedules of settings that hold another number than was put there."""
        step = group[STEP]
        for key, schedule in list(group[SCHEDULES].items()):
            ours = [self._at(key, schedule, at) for at in (step, max(0, step - 1))]
            if group[key] not in ours:
                group[SCHEDULES] = {k: s for k, s in group[SCHEDULES].items() if k != key}

    def _is_schedule(self, key: str, value: Any) -> bool:
        is_function = "." in key or key in FUNCTIONS
        return callable(value) if is_function else type(value) is Schedule

    def _at(self, key: str, schedule: Schedule, step: int) -> Any:
        if key not in self._settings:
            return schedule(step)
        transform, name = self._settings[key]
        return transform.settings[name].at(schedule, step)

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
