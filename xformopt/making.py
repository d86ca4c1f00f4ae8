"""The optimizer that keyword arguments describe, as a config holds them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from xformopt.optim import ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.optim.inner import ParamGroups
from xformopt.optim.leftovers import without_leftovers
from xformopt.refused import Refused, RefusedType, anew, standing_in
from xformopt.transforms.link import Link

UNREAD = ("inner", "transforms", "param_ndim")
"""What is read only where there are no routes, or a route that has none of its own."""

DEFAULT_NDIM = -1
UNSAID = {"param_ndim": DEFAULT_NDIM, "grad_scale": 1.0, "grad_bias": 0.0}
"""What stands beside routes in every config: as if it were not there."""


def make_optimizer(
    params: nn.Module | ParamGroups,
    *,
    inner: Callable[..., Optimizer] | None = None,
    transforms: Mapping[str, Link | None] | None = None,
    param_ndim: int | None = DEFAULT_NDIM,
    grad_scale: float = 1.0,
    grad_bias: float = 0.0,
    lr_scale: float = 1.0,
    strict_ndim: bool = False,
    compile: bool = False,
    routes: Any = None,
) -> ParamTransformingOptimizer | RoutedOptimizer:
    """Build the optimizer that a config of the group `optim` holds.

    A parameter with fewer than `param_ndim` dimensions is one whole item here unless
    `strict_ndim=True`, so that one `param_ndim` serves a whole model. A link that is None is left
    out. With `routes`, a mapping name → `Route` or its arguments, `params` are the model or
    `model.named_parameters()`; what no route would read is refused.

    >>> import torch
    >>> from xformopt.transforms import sign
    >>> layer = torch.nn.Linear(2, 3)
    >>> optim = make_optimizer(
    ...     layer.parameters(), inner=torch.optim.SGD, transforms={"sign": sign()}, param_ndim=2)
    >>> list(optim.transforms)
    ['sign']
    """
    chain = _links(transforms or {})
    settings: dict[str, Any] = {
        "param_ndim": param_ndim,
        "grad_scale": grad_scale,
        "grad_bias": grad_bias,
        "strict_ndim": strict_ndim,
        "compile": compile,
        "transforms": chain,
        "standard_keys": True,
        "lr_scale": lr_scale,
    }
    inner = inner and without_leftovers(inner)
    if not routes:
        if inner is None:
            raise Refused("inner", "an optimizer class or a partial of one", None)
        return ParamTransformingOptimizer(params, inner, **settings)
    if not isinstance(routes, Mapping):
        raise RefusedType("routes", "a mapping name → rule", routes)
    rules = {name: _as_route(name, route) for name, route in routes.items()}
    without = [name for name, rule in rules.items() if not (rule.inner or rule.freeze)]
    if inner is None and without:
        says = f"route `{without[0]}` has no `inner`, and none stands beside the routes"
        raise Refused("inner", part=f"routes.{without[0]}", says=says)
    said = {k: v for k, v in settings.items() if k not in UNSAID or v != UNSAID[k]}
    return RoutedOptimizer(params, rules, inner=inner, **said)


def _links(transforms: Mapping[str, Any]) -> dict[str, Link]:
    for name, link in transforms.items():
        if isinstance(link, Mapping):
            key = f"transforms.{name}"
            way_out = (
                f"name it there, `optim/transforms=[…,{name}]`, or keep them in an option of your "
                "own built on ours, conf/optim/transforms/mine.yaml (see the README)"
            )
            says = (
                f"`{key}` must be a link, got {link!r}: settings of a link that is not in the "
                f"chain; {way_out}"
            )
            raise RefusedType(key, "a link", link, way_out, says=says)
    return {str(name): link for name, link in transforms.items() if link is not None}


def _as_route(name: str, route: Any) -> Route:
    if isinstance(route, Route):
        return route
    if not isinstance(route, Mapping):
        raise RefusedType(f"routes.{name}", "a mapping such as {ndim: '>=2'}", route)
    with standing_in(f"routes.{name}"):
        try:
            return Route(**route)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise anew(error, f"`routes.{name}`: {error}") from error
