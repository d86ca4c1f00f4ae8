"""What a transform's setting may be: types, rules and the one line that a wrong value gets."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from xformopt.refused import Refused, RefusedType
from xformopt.schedules import Schedule
from xformopt.text import close_matches

RATE = "lr"
"""The keyword of a transform that is no setting, but the learning rate of the group."""


class Rule(NamedTuple):
    """What a value must satisfy, in words and as a predicate."""

    says: str
    holds: Callable[[Any], bool]


Number = Annotated[float, Rule("a number", lambda v: v == v)]
Positive = Annotated[float, Rule("a number > 0", lambda v: v > 0)]
NonNegative = Annotated[float, Rule("a number >= 0", lambda v: v >= 0)]
Count = Annotated[int, Rule("an int >= 1", lambda v: v >= 1)]
Fraction = Annotated[float, Rule("a number in [0, 1]", lambda v: 0 <= v <= 1)]
Decay = Annotated[float, Rule("a number in [0, 1)", lambda v: 0 <= v < 1)]


Rate = float | Tensor
"""The learning rate of a group: a number, or a scalar tensor, whose value nothing may wait for."""


@dataclass(frozen=True)
class Setting:
    """One keyword-only argument of a transform: its type, its rule and its default."""

    name: str
    type: Any
    default: Any
    rule: Rule | None = None
    optional: bool = False
    by_item: bool = False
    """Whether it may be a tensor, which broadcasts over the batch tensor `(N, *d)`."""

    @property
    def is_resource(self) -> bool:
        """Whether the value (a generator) belongs to the link, not to the parameter groups."""
        return self.type is torch.Generator

    def check(self, owner: str, value: Any, *, entries: bool = True) -> None:
        """Refuse a value that is not of the type, or breaks the rule, as `entries` of a tensor may.

        These are not looked at where that would have a device wait.
        """
        if value is None and self.optional:
            return
        if self.by_item and isinstance(value, Tensor):
            extremes = map(float, value.aminmax()) if entries and value.numel() else ()
            if value.dtype.is_floating_point and all(map(self._in_range, extremes)):
                return
        for step in (0, value.last) if isinstance(value, Schedule) else (0,):
            reached = self.at(value, step)
            has_type = self._has_type(reached)
            if has_type and self._in_range(reached):
                continue
            kind = Refused if has_type else RefusedType
            where = f" at step {step} of {value!r}" if isinstance(value, Schedule) else ""
            says = f"`{self.name}` of `{owner}` must be {self.says}, got {shown(reached)}{where}"
            raise kind(self.name, self.says, reached, of=owner, says=says)

    def at(self, value: Any, step: int) -> Any:
        """Return the value at a step: of a schedule, rounded where an int is wanted."""
        if not isinstance(value, Schedule):
            return value
        return round(value(step)) if self.type is int else value(step)

    @property
    def says(self) -> str:
        """The rule in words."""
        choices = get_args(self.type) if get_origin(self.type) is Literal else ()
        words = self.rule.says if self.rule else getattr(self.type, "__name__", str(self.type))
        words = "one of " + ", ".join(map(repr, choices)) if choices else words
        words += ", or a tensor of such" if self.by_item else ""
        return f"{words} or None" if self.optional else words

    def _has_type(self, value: Any) -> bool:
        if get_origin(self.type) is Literal:
            return True
        if self.type is bool:
            return isinstance(value, bool)
        accepted = {float: Real, int: Integral}.get(self.type, self.type)
        return isinstance(value, accepted) and not isinstance(value, bool)

    def _in_range(self, value: Any) -> bool:
        if get_origin(self.type) is Literal:
            return value in get_args(self.type)
        return self.rule is None or self.rule.holds(value)


def settings_of(fn: Callable[..., Any]) -> dict[str, Setting]:
    """Read the settings of `fn` off its keyword-only arguments and their annotations."""
    hints = get_type_hints(fn, include_extras=True)
    arguments = inspect.signature(fn).parameters.values()
    for a in arguments:
        if a.kind in (a.VAR_KEYWORD, a.VAR_POSITIONAL) or a.name in ("param_ndim", "when"):
            raise RefusedType(
                f"`{fn.__name__}` must name its arguments, and leave `param_ndim` and "
                f"`when` to links; got `{a}`"
            )
    keyword = [a for a in arguments if a.kind is a.KEYWORD_ONLY and a.name != RATE]
    return {a.name: _setting(fn.__name__, a.name, hints.get(a.name), a.default) for a in keyword}


def _setting(owner: str, name: str, hint: Any, default: Any) -> Setting:
    given = hint
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    hints = [part for part in parts if part not in (type(None), Tensor)]
    hint = hints[0] if len(hints) == 1 else given
    rule = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Rule)), None)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    known = (float, int, bool, str, torch.Generator)
    if hint not in known and get_origin(hint) is not Literal:
        raise RefusedType(
            f"setting `{name}` of `{owner}` must be annotated as float, int, bool, str, Literal, "
            f"Generator or one of these with None or a rule, got {given}"
        )
    return Setting(name, hint, default, rule, type(None) in parts, Tensor in parts)


def refuse_unknown(
    owner: str, settings: Mapping[str, Any], known: Collection[str], offered: Iterable[str] = ()
) -> None:
    """Refuse a setting that its owner has not, with those names of all `offered` that are close.

    >>> refuse_unknown("top_q", {"q": 0.5}, ["q", "dq"])
    """
    for name in settings:
        if name not in known:
            hint = close_matches(name, [*(offered or known)])
            says = f"`{owner}` has no setting `{name}`: {hint}"
            raise RefusedType(name, "", settings[name], hint, of=owner, says=says)


def shown(value: Any) -> str:
    """Return a value as text; of a tensor, its shape and where its entries lie.

    >>> shown(torch.tensor([[1.0], [2.5]]))
    'a tensor (2, 1) of entries from 1 to 2.5'
    """
    if not isinstance(value, Tensor):
        return repr(value)
    low, high = value.aminmax() if value.numel() else (0, 0)
    return f"a tensor {tuple(value.shape)} of entries from {float(low):g} to {float(high):g}"
