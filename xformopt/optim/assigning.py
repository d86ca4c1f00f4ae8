"""Which route takes which parameters, group by group."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from xformopt.optim.roles import Role, roles
from xformopt.optim.route import Route
from xformopt.refused import Refused, RefusedType

Group = dict[str, Any]
Groups = dict[str, list[Group]]
"""The parameter groups of each route, with `(name, parameter)` pairs as `params`."""
Named = list[tuple[str, Tensor]]


def assign(params: nn.Module | Iterable[Any], routes: Mapping[str, Route]) -> Groups:
    """Return the groups of each route that takes some; the first rule that holds wins.

    Groups that are given are split among the routes, each part with their settings.

    Raises:
        TypeError: for parameters without names.
        ValueError: for a parameter that no rule takes, or a rule that takes nothing, by name.
    """
    groups = as_groups(params)
    wrong = next((group["route"] for group in groups if "route" in group), None)
    if wrong:
        raise Refused(
            f"the rules say which route takes a group, and `add_param_group` alone reads its "
            f"`route`, got {wrong!r}; leave it out"
        )
    pairs = [pair for group in groups for pair in group["params"]]
    assigned = sort_out(groups, routes, roles(params if isinstance(params, nn.Module) else pairs))
    for route, taken in assigned.items():
        if not taken and not routes[route].optional:
            raise Refused(
                f"route `{route}` ({routes[route]!r}) takes no parameter; mend the rule, put it "
                "before the routes that take its parameters, or make it `optional`"
            )
    return {route: taken for route, taken in assigned.items() if taken}


def as_groups(params: nn.Module | Iterable[Any]) -> list[Group]:
    """Return the groups that are given, or one of all parameters; they must have names."""
    given: Any = listed(params)
    groups = given if given and isinstance(given[0], dict) else [{"params": given}]
    groups = [{**group, "params": listed(group["params"])} for group in groups]
    if not all(_is_named(item) for group in groups for item in group["params"]):
        raise RefusedType("routes need names: pass the model, or `model.named_parameters()`")
    return groups


def listed(params: Any) -> list[Any]:
    """Return parameters as a list: of a module, one alone, or several."""
    if isinstance(params, nn.Module):
        return list(params.named_parameters())
    return [params] if isinstance(params, tuple | Tensor | dict) else list(params)


def sort_out(groups: list[Group], routes: Mapping[str, Route], found: Mapping[str, Role]) -> Groups:
    """Return the groups of each route, of some none; every parameter must be taken."""
    assigned: Groups = {route: [] for route in routes}
    homeless = []
    for group in groups:
        taken: dict[str, Named] = {}
        for name, param in group["params"]:
            takers = (r for r, rule in routes.items() if rule.takes(name, param.ndim, found[name]))
            taker = next(takers, None)
            if taker is None:
                homeless.append(f"{name} {tuple(param.shape)}")
            else:
                taken.setdefault(taker, []).append((name, param))
        for route, pairs in taken.items():
            assigned[route].append({**group, "params": pairs, "route": route})
    if homeless:
        raise Refused(
            f"no route takes {', '.join(homeless)}; add a last route that takes the rest: Route()"
        )
    return assigned


def _is_named(item: Any) -> bool:
    return isinstance(item, tuple) and isinstance(item[0], str)
