"""From a recipe to its parts, as objects or as nodes of a config, and to its optimizer."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from xformopt import transforms
from xformopt.optim import FrankWolfe, ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.optim.catalogue import inner_optimizers
from xformopt.optim.inner import ParamGroups
from xformopt.optim.standard import places_of, spread
from xformopt.recipes.index import get
from xformopt.recipes.recipe import Chain, Recipe, RecipeRoute
from xformopt.recipes.space import RATE, Space, around
from xformopt.refused import Refused, RefusedType
from xformopt.text import close_matches

SHARED = ("param_ndim", "grad_scale", "grad_bias", "strict_ndim", "compile", "lr_scale")
"""The settings of the core, which a recipe takes beside those of its inner optimizer."""

Composed = Recipe | RecipeRoute
"""What has a chain and an inner optimizer."""


class Make(Protocol):
    """Makes a part: `call` the part itself, hydra-zen's `builds` a node of a config."""

    def __call__(self, target: Callable[..., Any], *, zen_partial: bool, **settings: Any) -> Any:
        """Return what stands for `target(**settings)`, or for the partial."""
        ...


def inner_classes() -> dict[str, type[Optimizer]]:
    """Return what a recipe may name as inner optimizer: those of torch, and Frank–Wolfe."""
    return {**inner_optimizers(), "frank_wolfe": FrankWolfe}


def space(recipe: str | None = None, inner: str | None = None) -> Space:
    """Return where a recipe is searched, around its defaults; with another inner optimizer, if any.

    >>> list(space("adamw_parts")), list(space(inner="adamw"))
    (['lr_scale', 'transforms.weight_decay.weight'], ['lr_scale', 'inner.weight_decay'])
    """
    own = get(recipe) if recipe else Recipe("", {}, "")
    if own.routes:
        return {**RATE, **own.space}
    settings = inspect.signature(inner_classes()[inner or own.inner]).parameters
    decay = getattr(settings.get("weight_decay"), "default", 0.0)
    return {**RATE, **({"inner.weight_decay": around(decay)} if decay else {}), **own.space}


def parts(recipe: Composed, make: Make) -> dict[str, Any]:
    """Return the chain and the inner optimizer of a recipe or route, made by `make`."""
    chain = {
        name: make(transforms.get(name), zen_partial=False, **settings)
        for name, settings in recipe.chain.items()
    }
    inner = make(inner_classes()[recipe.inner], zen_partial=True, **recipe.settings)
    return {"transforms": chain, "inner": inner}


def routes(recipe: Recipe, make: Make) -> dict[str, Any]:
    """Return the routes of a recipe, made by `make`."""
    return {
        name: make(Route, zen_partial=False, **parts(route, make), **route.rule)
        for name, route in recipe.routes.items()
    }


def build(
    name: str, params: nn.Module | ParamGroups, chain: Chain | None = None, **settings: Any
) -> ParamTransformingOptimizer | RoutedOptimizer:
    """Build the optimizer of a recipe.

    Args:
        name: the recipe's name.
        params: the model, or parameters; for a recipe with routes, such as `muon`, with names.
        chain: settings of its transforms that shall differ, by name.
        **settings: settings of its inner optimizer that shall differ, of every route that has them;
            `weight_decay`, `momentum`, `betas` are those of its links; and settings of the core.

    >>> import torch
    >>> optim = build("lion", [torch.zeros(2)], {"lion_mix": {"beta1": 0.8}}, lr=1e-3)
    >>> optim.transforms["lion_mix"]
    lion_mix(beta1=0.8, beta2=0.99)
    """
    recipe, chain = get(name), chain or {}
    _check_links(name, recipe, chain)
    shared = {key: settings.pop(key) for key in SHARED if key in settings}
    shared = {"strict_ndim": False, "standard_keys": True, **shared}
    if recipe.routes:
        _check_read(name, recipe, settings)
        changed = {
            key: _changed(route, chain, {k: v for k, v in settings.items() if _reads(route, k)})
            for key, route in recipe.routes.items()
        }
        return RoutedOptimizer(params, routes(replace(recipe, routes=changed), call), **shared)
    made = parts(_changed(recipe, chain, settings), call)
    return ParamTransformingOptimizer(
        params,
        made["inner"],
        transforms=made["transforms"],
        **{"param_ndim": recipe.param_ndim, **shared},
    )


def call(target: Callable[..., Any], *, zen_partial: bool, **settings: Any) -> Any:
    """Return what a part is: the target called, or a partial of it."""
    return partial(target, **settings) if zen_partial else target(**settings)


def _changed(recipe: Composed, chain: Chain, settings: Mapping[str, Any]) -> Any:
    """Return a recipe or route with other settings, each where it is read."""
    own = {
        f"{name}.{key}": value
        for name in recipe.chain
        for key, value in chain.get(name, {}).items()
    }
    spread_out = spread({**own, **settings}, _places(recipe))
    links = {name: dict(held) for name, held in recipe.chain.items()}
    inner = dict(recipe.settings)
    for key, value in spread_out.items():
        link, dot, setting = key.partition(".")
        (links[link] if dot else inner)[setting if dot else key] = value
    return replace(recipe, chain=links, settings=inner)


def _places(recipe: Composed) -> dict[str, tuple[str, ...]]:
    """Return the standard keys, such as `weight_decay`, that the links around SGD stand for."""
    if recipe.inner != "sgd":
        return {}
    return places_of({name: transforms.get(name)(**own) for name, own in recipe.chain.items()})


def _reads(route: Composed, key: str) -> bool:
    inner = inspect.signature(inner_classes()[route.inner]).parameters
    return key in _places(route) or key in inner


def _check_read(name: str, recipe: Recipe, settings: Mapping[str, Any]) -> None:
    for key in settings:
        if not any(_reads(route, key) for route in recipe.routes.values()):
            raise RefusedType(f"no route of the recipe `{name}` has a setting `{key}`")


def _check_links(name: str, recipe: Recipe, chain: Chain) -> None:
    held = [*recipe.chain, *(link for route in recipe.routes.values() for link in route.chain)]
    for unknown in (link for link in chain if link not in held):
        hint = close_matches(unknown, held)
        raise Refused(f"recipe `{name}` has no transform `{unknown}`: {hint}")
