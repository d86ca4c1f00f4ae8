"""The optimizer of a route, and the settings of its groups."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch.optim import LBFGS, Optimizer

from xformopt.optim.assigning import Group
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.inner import unpacked
from xformopt.optim.route import FIELDS, Route
from xformopt.optim.standard import StandardKeys
from xformopt.optim.unread import sets
from xformopt.refused import Refused, RefusedType, dotted
from xformopt.text import close_matches
from xformopt.transforms.link import Link, as_chain

OF_ALL = ("compile", "lr_scale", "standard_keys")
"""Settings that are the same for all routes."""


class Beside(NamedTuple):
    """What stands beside the routes, for those that have none of their own."""

    inner: Callable[..., Optimizer]
    transforms: Mapping[str, Link]
    settings: Mapping[str, Any]
    common: Mapping[str, Link]
    """The links that run over all routes."""


def build(route: Route, group: Group, beside: Beside) -> ParamTransformingOptimizer:
    """Return the optimizer of a route, with its first group."""
    links = beside.transforms if route.transforms is None else as_chain(route.transforms)
    twice = [link for link in links if link in beside.common]
    if twice:
        raise Refused(
            f"the link `{twice[0]}` stands both in the chain of the route and in that over all; "
            "name one otherwise: `transforms={'my_name': …}`"
        )
    inner = route.inner or beside.inner
    shared = {k: v for k, v in beside.settings.items() if not (route.inner and sets(route, k))}
    shared.update({k: v for k, v in route.settings.items() if k in ("param_ndim", "strict_ndim")})
    owned = links if shared.get("standard_keys") else {}
    group = with_settings(route, group, StandardKeys(owned, unpacked(inner, {})[0], {}))
    optimizer = ParamTransformingOptimizer([group], inner, transforms=links, **shared)
    if isinstance(optimizer.inner_opt, LBFGS):
        says = "LBFGS evaluates the loss itself and cannot share a step; use it alone"
        raise Refused("", part="inner", says=says)
    refuse_unknown(optimizer, group)
    return optimizer


def add(route: Route, group: Group, optimizer: ParamTransformingOptimizer) -> None:
    """Add a group to the optimizer of a route, as if it had been built with it."""
    group = with_settings(route, group, optimizer._standard)
    refuse_unknown(optimizer, group)
    optimizer.add_param_group(group)


def with_settings(route: Route, group: Group, standard: StandardKeys) -> Group:
    """Return a group over the settings of its route."""
    own = {key: value for key, value in route.settings.items() if key != "strict_ndim"}
    return {**standard.translated(own), **standard.translated(group)}


def refuse_unknown(optimizer: ParamTransformingOptimizer, group: Group) -> None:
    """Raise a `TypeError` for a setting of a group that nothing reads."""
    known = {*optimizer.defaults, "params", "param_names", "route"}
    for key in (key for key in group if key not in known):
        hint = close_matches(key, [*FIELDS, *optimizer.defaults])
        if key in OF_ALL:
            hint = f"it is one for all; set it beside the routes, `RoutedOptimizer(…, {key}=…)`"
        says = f"it has a setting `{key}` that nothing reads: {hint}"
        raise RefusedType(key, value=group[key], way_out=hint, says=says)


def place(error: Refused, name: str, route: Route) -> Refused:
    """Note of what was refused for a route whether it stands there, or beside the routes."""
    head, is_own = error.path.partition(".")[0], not error.path
    if head in ("inner", "transforms"):
        is_own = getattr(route, head) is not None
    if error.key in route.settings:
        error.part, is_own = "", True
    error.part = dotted(f"routes.{name}" if is_own else "", error.part)
    return error


def defaults_of(optimizers: Iterable[ParamTransformingOptimizer]) -> dict[str, Any]:
    """Return what schedulers look for: the keys that the routes have, by the first that has one.

    Where not all have `betas`, it is `momentum` that may be cycled; see `settle_momentum`.
    """
    held = [optimizer.defaults for optimizer in optimizers]
    found = {key: value for defaults in reversed(held) for key, value in defaults.items()}
    if any("betas" not in defaults for defaults in held) and "betas" in found:
        first, *_ = found.pop("betas")
        found.setdefault("momentum", first)
    return found


def settle_momentum(optimizer: ParamTransformingOptimizer) -> None:
    """Take `momentum` that a scheduler gave to a route which has `betas` for the first of them."""
    if "betas" not in optimizer.defaults or "momentum" in optimizer.defaults:
        return
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["betas"] = (group["momentum"], *group["betas"][1:])
