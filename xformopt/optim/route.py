"""Routes: ordered rules on the names and dimensions of parameters; the first that holds wins."""

import fnmatch
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from xformopt.optim.roles import ROLES, Role, roles
from xformopt.text import close_matches
from xformopt.transforms.link import Transforms

Named = list[tuple[str, Tensor]]


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
        freeze: take the parameters out of training.
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
        _compare(ndim, 0)
        for pattern in self.match:
            _check_pattern(pattern)
        for wrong in (r for r in self.role or () if r not in ROLES):
            hint = close_matches(str(wrong), list(ROLES))
            raise ValueError(f"`role` of a route must be in {list(ROLES)}, got {wrong!r}; {hint}")

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


def named(params: nn.Module | Iterable[Any]) -> Iterable[Any]:
    """Return the named parameters of a module, and anything else as it is."""
    return list(params.named_parameters()) if isinstance(params, nn.Module) else params


def assign(params: nn.Module | Iterable[Any], routes: Mapping[str, Route]) -> dict[str, Named]:
    """Return the parameters that each route takes; the first rule that holds wins.

    Raises:
        TypeError: for parameters without names.
        ValueError: for a parameter that no rule takes, or a rule that takes nothing, by name.
    """
    assigned = sort_out(params, routes)
    for route, taken in assigned.items():
        if not taken and not routes[route].optional:
            raise ValueError(
                f"route `{route}` ({routes[route]!r}) takes no parameter; mend the rule, put it "
                "before the routes that take its parameters, or pass `optional=True`"
            )
    return {route: taken for route, taken in assigned.items() if taken}


def sort_out(
    params: nn.Module | Iterable[Any], routes: Mapping[str, Route], *, whole: bool = True
) -> dict[str, Named]:
    """Return the parameters that each route takes, of some none; every parameter must be taken.

    `whole` says whether these are all of a model: then its last linear layer is the head.
    """
    pairs = list(named(params))
    if not all(isinstance(item, tuple) and isinstance(item[0], str) for item in pairs):
        raise TypeError("routes need names: pass the model, or `model.named_parameters()`")
    found = roles(params if isinstance(params, nn.Module) else pairs, whole=whole)
    assigned: dict[str, Named] = {name: [] for name in routes}
    homeless = []
    for name, param in pairs:
        takers = (r for r, route in routes.items() if route.takes(name, param.ndim, found[name]))
        taker = next(takers, None)
        if taker is None:
            homeless.append(f"{name} {tuple(param.shape)}")
        else:
            assigned[taker].append((name, param))
    if homeless:
        raise ValueError(
            f"no route takes {', '.join(homeless)}; add a last route that takes the rest: Route()"
        )
    return assigned


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
        raise ValueError(
            f"`match` of a route must be a glob or `re:` and a regular expression, got {pattern!r}:"
            f" {error}"
        ) from error


def _compare(rule: int | str | None, ndim: int) -> bool:
    if rule is None:
        return True
    found = re.fullmatch(r"\s*(>=|<=|==|>|<|)\s*(\d+)\s*", str(rule))
    if not found:
        raise ValueError(f"`ndim` of a route must be a number or a bound like '>=2', got {rule!r}")
    bound = int(found[2])
    return {
        ">=": ndim >= bound,
        "<=": ndim <= bound,
        ">": ndim > bound,
        "<": ndim < bound,
        "==": ndim == bound,
        "": ndim == bound,
    }[found[1]]
