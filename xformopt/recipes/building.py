"""From a recipe to its parts, as objects or as nodes of a config, and to its optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from xformopt import transforms
from xformopt.optim import FrankWolfe, ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.optim.inner import ParamGroups, inner_optimizers
from xformopt.optim.route import named
from xformopt.recipes.index import get
from xformopt.recipes.recipe import Chain, Recipe, RecipeRoute
from xformopt.text import close_matches


class Make(Protocol):
    """Makes a part: `call` the part itself, hydra-zen's `builds` a node of a config."""

    def __call__(self, target: Callable[..., Any], *, zen_partial: bool, **settings: Any) -> Any:
        """Return what stands for `target(**settings)`, or for the partial."""
        ...


def inner_classes() -> dict[str, type[Optimizer]]:
    """Return what a recipe may name as inner optimizer: those of torch, and Frank–Wolfe."""
    return {**inner_optimizers(), "frank_wolfe": FrankWolfe}


def parts(recipe: Recipe | RecipeRoute, make: Make) -> dict[str, Any]:
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
        **settings: settings of its inner optimizer that shall differ; of every route, if any.

    >>> import torch
    >>> optim = build("lion", [torch.zeros(2)], {"lion_mix": {"beta1": 0.8}}, lr=1e-3)
    >>> optim.transforms["lion_mix"]
    lion_mix(beta1=0.8, beta2=0.99)
    """
    recipe = get(name)
    _check_links(name, recipe, chain or {})
    if recipe.routes:
        changed = {k: _changed(r, chain or {}, settings) for k, r in recipe.routes.items()}
        return RoutedOptimizer(params, routes(replace(recipe, routes=changed), call))
    made = parts(_changed(recipe, chain or {}), call)
    return ParamTransformingOptimizer(
        named(params),
        made["inner"],
        transforms=made["transforms"],
        param_ndim=recipe.param_ndim,
        strict_ndim=False,
        **settings,
    )


def call(target: Callable[..., Any], *, zen_partial: bool, **settings: Any) -> Any:
    """Return what a part is: the target called, or a partial of it."""
    return partial(target, **settings) if zen_partial else target(**settings)


def _changed(recipe: Any, chain: Chain, settings: Mapping[str, Any] | None = None) -> Any:
    links = {name: {**own, **chain.get(name, {})} for name, own in recipe.chain.items()}
    return replace(recipe, chain=links, settings={**recipe.settings, **(settings or {})})


def _check_links(name: str, recipe: Recipe, chain: Chain) -> None:
    held = [*recipe.chain, *(link for route in recipe.routes.values() for link in route.chain)]
    for unknown in (link for link in chain if link not in held):
        hint = close_matches(unknown, held)
        raise ValueError(f"recipe `{name}` has no transform `{unknown}`: {hint}")
