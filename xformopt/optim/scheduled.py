"""Settings of links that follow schedules, group by group."""

from collections.abc import Mapping
from typing import Any

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
        self.paused = False

    def take(self, group: Group) -> None:
        """Note the schedules of a group that was added, and put their first values there."""
        schedules = {key: value for key, value in group.items() if isinstance(value, Schedule)}
        self._of_groups.append(schedules)
        if schedules:
            group.setdefault("schedule_step", 0)
            self._follow(group, schedules, 0)

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

    def count(self, groups: list[Group]) -> None:
        """Count a step."""
        if self.paused:
            return
        for group, schedules in zip(groups, self._of_groups, strict=False):
            if schedules:
                group["schedule_step"] += 1

    def _follow(self, group: Group, schedules: dict[str, Schedule], step: int) -> None:
        for key, schedule in schedules.items():
            name, _, setting = key.partition(".")
            group[key] = self._chain[name].transform.settings[setting].at(schedule, step)
