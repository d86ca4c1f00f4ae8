"""Routes: ordered rules on the names and dimensions of parameters; the first that holds wins."""

import fnmatch
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from xformopt.optim.roles import ROLES, Role
from xformopt.refused import Refused
from xformopt.text import close_matches
from xformopt.transforms.link import Transforms


class Route:
    """A rule on parameters, and what those that it takes are given.

    Args:
        match: a glob on the whole name, or a regular expression after `re:`; several, any of which
            may hold.
        ndim: a number of dimensions, or a bound such as `">=2"`.
        role: what a parameter is to its model, or several that it may be: `"embedding"`, `"head"`,
            `"matrix"`, `"vector"`; see `xformopt.optim.roles`.
        transforms: the chain; None for the optimizer's own.
        inner: the inner optimizer, a class or partial; None for the optimizer's own.
        freeze: take the parameters out of training, whatever its chain and inner optimizer.
        optional: whether the rule may take nothing.
        **settings: settings of the parameter group: `lr`, `weight_decay`, `param_ndim`, …

    >>> Route("*.weight", ndim=">=2", lr=0.02).takes("conv.weight", 4)
    True
    """

    def __init__(
        self,
        match: str | list[str] = "*",
        ndim: int | str | None = None,
        *,
        role: Role | list[Role] | None = None,
        transforms: Transforms = None,
        inner: Callable[..., Optimizer] | None = None,
        freeze: bool = False,
        optional: bool = False,
        **settings: Any,
    ) -> None:
        """Check the rule."""
        self.match = [match] if isinstance(match, str) else list(match)
        self.ndim = ndim
        self.role = [role] if isinstance(role, str) else role
        self.transforms, self.inner = _without_nones(transforms), inner
        self.freeze, self.optional, self.settings = freeze, optional, settings
        unread = [key for key in settings if key != "param_ndim"] if freeze else []
        if unread:
            says = (
                "a route with `freeze=True` trains nothing, so that nothing reads its "
                f"{', '.join(f'`{key}`' for key in unread)}: leave them out"
            )
            raise Refused(unread[0], value=settings[unread[0]], of="a route", says=says)
        _compare(ndim, 0)
        for pattern in self.match:
            _check_pattern(pattern)
        for wrong in (r for r in self.role or () if r not in ROLES):
            hint = close_matches(str(wrong), list(ROLES))
            raise Refused("role", f"in {list(ROLES)}", wrong, hint, of="a route")

    def takes(self, name: str, ndim: int, role: Role | None = None) -> bool:
        """Return whether the rule holds for a parameter."""
        if self.role is not None and role not in self.role:
            return False
        return _compare(self.ndim, ndim) and any(_matches(p, name) for p in self.match)

    def __repr__(self) -> str:
        """Show the rule."""
        parts = [" or ".join(self.match)] if self.match != ["*"] or not self.role else []
        parts += [f"role {' or '.join(self.role)}"] if self.role else []
        parts += [f"ndim {self.ndim}"] if self.ndim is not None else []
        return ", ".join(parts)


FIELDS = [a for a in inspect.signature(Route).parameters if a != "settings"]
"""What a route has beside the settings of its parameter group."""


def _without_nones(transforms: Transforms) -> Transforms:
    """Leave out links that are None, as a config takes one away."""
    if not isinstance(transforms, Mapping):
        return transforms
    return {str(name): link for name, link in transforms.items() if link is not None}


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.fullmatch(pattern[3:], name) is not None
    return fnmatch.fnmatchcase(name, pattern)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern.removeprefix("re:") if pattern.startswith("re:") else "")
    except re.error as error:
        rule = "a glob or `re:` and a regular expression"
        says = f"`match` of a route must be {rule}, got {pattern!r}: {error}"
        raise Refused("match", rule, pattern, of="a route", says=says) from error


def _compare(rule: int | str | None, ndim: int) -> bool:
    if rule is None:
        return True
    found = re.fullmatch(r"\s*(>=|<=|==|>|<|)\s*(\d+)\s*", str(rule))
    if not found:
        raise Refused("ndim", "a number or a bound like '>=2'", rule, of="a route")
    bound = int(found[2])
    return {
        ">=": ndim >= bound,
        "<=": ndim <= bound,
        ">": ndim > bound,
        "<": ndim < bound,
        "==": ndim == bound,
        "": ndim == bound,
    }[found[1]]
