"""Registry → hydra-zen store: the groups `optim`, `optim/inner` and `optim/transforms`."""

from collections.abc import Callable
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_zen import ZenStore, builds
from torch import nn
from torch.optim import Optimizer

from xformopt import recipes, transforms
from xformopt.optim import (
    FrankWolfe,
    ParamTransformingOptimizer,
    Route,
    RoutedOptimizer,
    inner_optimizers,
)
from xformopt.optim.inner import ParamGroups, without_leftovers
from xformopt.optim.route import named
from xformopt.transforms.link import Link


def make_optimizer(
    params: nn.Module | ParamGroups,
    *,
    inner: Callable[..., Optimizer],
    transforms: dict[str, Link] | None = None,
    param_ndim: int | None = -1,
    grad_scale: float = 1.0,
    grad_bias: float = 0.0,
    strict_ndim: bool = False,
    compile: bool = False,
    routes: Any = None,
) -> ParamTransformingOptimizer | RoutedOptimizer:
    """Build the optimizer that a config of the group `optim` holds.

    A parameter with fewer than `param_ndim` dimensions is one whole item here unless
    `strict_ndim=True`, so that one `param_ndim` serves a whole model. With `routes`, a mapping
    name → `Route` or its arguments, `params` are the model or `model.named_parameters()`.

    >>> import torch
    >>> from xformopt.transforms import sign
    >>> layer = torch.nn.Linear(2, 3)
    >>> optim = make_optimizer(
    ...     layer.parameters(), inner=torch.optim.SGD, transforms={"sign": sign()}, param_ndim=2)
    >>> list(optim.transforms)
    ['sign']
    """
    settings: dict[str, Any] = {
        "param_ndim": param_ndim,
        "grad_scale": grad_scale,
        "grad_bias": grad_bias,
        "strict_ndim": strict_ndim,
        "compile": compile,
        "transforms": transforms,
    }
    inner = without_leftovers(inner)
    if not routes:
        return ParamTransformingOptimizer(named(params), inner, **settings)
    if not isinstance(routes, dict):
        raise TypeError(f"`routes` must be a mapping name → rule, got {routes!r}")
    rules = {name: _as_route(name, route) for name, route in routes.items()}
    return RoutedOptimizer(params, rules, inner=inner, **settings)


def make_store() -> ZenStore:
    """Return a store of all that is registered now: recipes, inner optimizers, transforms.

    A transform that was defined inside a function is left out: no config can name it.
    """
    store = ZenStore("xformopt", overwrite_ok=True)
    store(_optim("adam", []), group="optim", name="default")
    for name in recipes.names():
        store(_recipe(recipes.get(name)), group="optim", name=name)
    for name, cls in {**inner_optimizers(), "frank_wolfe": FrankWolfe}.items():
        store(_builds(cls, zen_partial=True), group="optim/inner", name=name)
    for name in filter(_is_importable, transforms.names()):
        store(
            _builds(transforms.get(name)),
            group="optim/transforms",
            name=name,
            package=f"optim.transforms.{name}",
        )
    return store


def add_to_hydra_store() -> None:
    """Put our groups into Hydra's store; call it before `hydra.main` or `launch`.

    Then `optim: default` in a defaults list gives `cfg.optim`, and
    `instantiate(cfg.optim)(model.named_parameters())` the optimizer.
    """
    make_store().add_to_hydra_store(overwrite_ok=True)
    hydra_store = ConfigStore.instance()
    hydra_store.repo = _Shared(hydra_store.repo)


class _Shared(dict[str, Any]):
    """Hydra's groups of nodes; a copy has groups of its own, with the same nodes in them.

    Each composition copies the whole store, two fifths of its time with ours, and then each node
    that it loads from the copy, which is enough.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return _Shared(_copied_groups(self))


def _copied_groups(nodes: dict[str, Any]) -> dict[str, Any]:
    return {k: _copied_groups(v) if isinstance(v, dict) else v for k, v in nodes.items()}


def _builds(target: Callable[..., Any], **options: Any) -> Any:
    return builds(target, populate_full_signature=True, hydra_convert="all", **options)


def _optim(base: str, chain: list[str], **settings: Any) -> Any:
    """A node of `optim`; what it sets itself comes last, over the nodes that it names."""
    return _builds(
        make_optimizer,
        zen_partial=True,
        hydra_defaults=[{"inner": base}, {"transforms": chain}, "_self_"],
        **{"inner": {}, "transforms": {}, **settings},
    )


def _recipe(recipe: recipes.Recipe) -> Any:
    return _optim(
        recipe.inner,
        list(recipe.chain),
        inner=recipe.settings,
        transforms={name: settings for name, settings in recipe.chain.items() if settings},
        param_ndim=recipe.param_ndim,
        routes={name: _route(part) for name, part in recipe.routes.items()} or None,
    )


def _route(part: recipes.Part) -> Any:
    chain = {name: _builds(transforms.get(name), **s) for name, s in part.chain.items()}
    inner = _builds(recipes.inner_class(part.inner), zen_partial=True, **part.settings)
    return _builds(Route, transforms=chain, inner=inner, **part.rule)


def _as_route(name: str, route: Any) -> Route:
    if isinstance(route, Route):
        return route
    if not isinstance(route, dict):
        raise TypeError(f"`routes.{name}` must be a mapping such as {{ndim: '>=2'}}, got {route!r}")
    try:
        return Route(**route)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`routes.{name}`: {error}") from error


def _is_importable(name: str) -> bool:
    return "<locals>" not in transforms.get(name).fn.__qualname__
