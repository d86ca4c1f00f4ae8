"""Transforms as an optimizer runs them: under a name, with the group keys of their settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from xformopt.transforms.definition import Transform
from xformopt.transforms.link import INHERIT, Link
from xformopt.transforms.settings import RATE

Group = Mapping[str, Any]


class Bound(NamedTuple):
    """A transform of an optimizer."""

    name: str
    transform: Transform
    keys: Mapping[str, str]
    """For each setting that groups hold, its key there."""
    fixed: Mapping[str, Any]
    """The values of the other settings."""
    state_dtype: Any = None

    def settings(self, group: Group) -> tuple[dict[str, Any], int | None]:
        """Return what the transform is called with for a group, checked, and its `param_ndim`.

        Entries of tensors are not looked at, for which a device would have to wait in each step.
        """
        settings = {**self.fixed, **{setting: group[key] for setting, key in self.keys.items()}}
        settings.pop("param_ndim", None)
        self.transform.check(settings, entries=False)
        if self.transform.reads_rate:
            settings[RATE] = group[RATE]
        return settings, self.param_ndim(group)

    def param_ndim(self, group: Group) -> int | None:
        """Return how many dimensions an item has in a group."""
        own = group[self.keys["param_ndim"]] if "param_ndim" in self.keys else INHERIT
        return group["param_ndim"] if own == INHERIT else own

    def held_in(self, group: Group) -> list[Any]:
        """Return the values of a group that it is called with, in one order for all groups."""
        rate = [RATE] if self.transform.reads_rate else []
        return [group[key] for key in (*self.keys.values(), *rate)]


def bind(name: str, link: Link, renamed: Mapping[str, str]) -> Bound:
    """Bind a link to the keys `"name.setting"`, but for those that are `renamed`."""
    dotted = {setting: f"{name}.{setting}" for setting in (*link.settings, *link.resources)}
    keys = {setting: renamed.get(key, key) for setting, key in dotted.items()}
    return Bound(name, link.transform, keys, {}, link.state_dtype)


def names_of(params: list[Tensor], groups: list[Any]) -> str:
    """Say which parameters of groups these are: by name where it is known, else by place.

    >>> from torch import zeros
    >>> x, y = zeros(2), zeros(3)
    >>> names_of([y], [{"params": [x, y], "param_names": ["x", "y"]}])
    '`y` (3,)'
    """
    wanted = {id(p) for p in params}
    found = [
        f"`{label}` {tuple(p.shape)}"
        for i, group in enumerate(groups)
        for label, p in zip(_labels(i, group), group["params"], strict=True)
        if id(p) in wanted
    ]
    return ", ".join(found[:3]) + (f", … {len(found)} in all" if found[3:] else "")


def _labels(index: int, group: Group) -> list[str]:
    places = [f"param_groups[{index}]['params'][{k}]" for k in range(len(group["params"]))]
    return group.get("param_names") or places
