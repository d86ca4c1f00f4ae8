"""Settings of links that follow schedules, group by group."""

from collections.abc import Mapping
from typing import Any

import torch

from xformopt.schedules import Schedule, as_schedule
from xformopt.transforms.link import Link

Group = dict[str, Any]


class Scheduled:
    """Puts numbers where groups had schedules, which it keeps beside them.

    A group counts its own steps, under `schedule_step`, so that they are saved with it.
    """

    def __init__(self, chain: Mapping[str, Link]) -> None:
        """Start with no group."""
        self._chain = chain
        self._of_groups: list[dict[str, Schedule]] = []
        self._capturable: list[bool | None] = []
        self.paused = False

    def take(self, group: Group) -> None:
        """Note the schedules of a group that was added, and put their first values there."""
        schedules = {key: value for key, value in group.items() if isinstance(value, Schedule)}
        self._of_groups.append(schedules)
        self._capturable.append(group.get("capturable"))
        if schedules:
            group.setdefault("schedule_step", 0)
            self._follow(group, schedules, 0)

    def places(self) -> set[tuple[int, str]]:
        """Return the index of the group and the key of each setting that follows a schedule."""
        return {(index, key) for index, keys in enumerate(self._of_groups) for key in keys}

    def follow(self, groups: list[Group]) -> None:
        """Put the values of the groups' steps there; schedules that were put there are taken."""
        if self.paused:
            return
        for group, schedules in zip(groups, self._of_groups, strict=False):
            new = {k: as_schedule(v) for k, v in group.items() if "." in k and callable(v)}
            if new:
                schedules.update(new)
                group.setdefault("schedule_step", 0)
            if schedules:
                self._follow(group, schedules, group["schedule_step"])
        if not torch.compiler.is_compiling():
            self._capturable = [group.get("capturable") for group in groups]

    def count(self, groups: list[Group]) -> None:
        """Count a step."""
        if self.paused:
            return
        for group, schedules in zip(groups, self._of_groups, strict=False):
            if schedules:
                group["schedule_step"] += 1
        if torch.compiler.is_compiling():
            self._restore_capturable(groups)

    def _restore_capturable(self, groups: list[Group]) -> None:
        """Undo what torch's compiler does to the groups of an optimizer that it traces.

        There `capturable` is True, which it would leave in the groups that were written to.
        """
        capturable = self._capturable
        for group, schedules, before in zip(groups, self._of_groups, capturable, strict=False):
            if schedules and before is None:
                group.pop("capturable", None)
            elif schedules:
                group["capturable"] = before

    def _follow(self, group: Group, schedules: dict[str, Schedule], step: int) -> None:
        for key, schedule in schedules.items():
            name, _, setting = key.partition(".")
            group[key] = self._chain[name].transform.settings[setting].at(schedule, step)
