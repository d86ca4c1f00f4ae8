"""What stands beside routes that all have their own, so that nothing would read it."""

from collections.abc import Mapping
from typing import Any

from xformopt.optim.inner import unpacked
from xformopt.optim.route import Route
from xformopt.refused import Refused
from xformopt.text import first
from xformopt.transforms.link import Link, as_chain


def refuse_unread(
    routes: Mapping[str, Route], inner: Any, chain: Mapping[str, Link], settings: Mapping[str, Any]
) -> None:
    """Refuse what no route reads, with the keys that act.

    Args:
        routes: the routes; those that freeze read nothing.
        inner: the inner optimizer of those that name none, or None.
        chain: the links of those that have no chain.
        settings: settings of all.
    """
    live = {name: route for name, route in routes.items() if not route.freeze}
    if not live:
        return
    said = "stands beside routes that all have their own, so that nothing reads it; set"
    if inner is not None and all(route.inner for route in live.values()):
        says = f"`inner` {said} {_keys(live, 'inner')}, or `lr_scale` for all"
        raise Refused("inner", value=inner, says=says)
    if chain and all(route.transforms is not None for route in live.values()):
        says = f"`transforms` {said} {_keys(live, 'transforms')}: {[*chain]}"
        raise Refused("transforms", value=chain, says=says)
    if "param_ndim" in settings and not any(_reads_ndim(r, chain) for r in live.values()):
        ndim = settings["param_ndim"]
        says = f"`param_ndim={ndim}` {said} {_keys(live, 'param_ndim')}"
        raise Refused("param_ndim", value=ndim, says=says)
    for key, value in settings.items():
        if all(sets(route, key) for route in live.values()):
            also = ", or `lr_scale` for all" if key == "lr" else ""
            raise Refused(key, value=value, says=f"`{key}` {said} {_keys(live, key)}{also}")


def sets(route: Route, key: str) -> bool:
    """Return whether a route sets a key of its groups, itself or by a partial."""
    own = unpacked(route.inner, {})[1] if route.inner else {}
    return key in route.settings or key in own


def _reads_ndim(route: Route, shared: Mapping[str, Link]) -> bool:
    """Return whether a route takes the `param_ndim` that stands beside the routes."""
    if "param_ndim" in route.settings:
        return False
    links = shared if route.transforms is None else as_chain(route.transforms)
    return any(link.reads_param_ndim for link in links.values())


def _keys(routes: Mapping[str, Route], key: str) -> str:
    return first([f"`routes.{name}.{key}`" for name in routes], 3)
