"""Recipes: published optimizers written as a chain of transforms and an inner optimizer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from xformopt import transforms
from xformopt.geometry import BALLS, CONVEX
from xformopt.optim import FrankWolfe, ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.optim.inner import ParamGroups, inner_optimizers
from xformopt.optim.route import named
from xformopt.text import close_matches

Chain = dict[str, dict[str, Any]]
"""Transforms by name, each with the settings that differ from its own defaults."""


@dataclass(frozen=True)
class Part:
    """A route of a recipe."""

    rule: dict[str, Any]
    chain: Chain = field(default_factory=dict)
    inner: str = "sgd"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A published optimizer: its chain, its inner optimizer with settings, routes if any."""

    what: str
    chain: Chain
    source: str
    inner: str = "sgd"
    settings: dict[str, Any] = field(default_factory=dict)
    param_ndim: int | None = -1
    routes: dict[str, Part] = field(default_factory=dict)


MATRICES = {"ndim": ">=2"}
REST = {"optional": True}

RECIPES: dict[str, Recipe] = {
    "sgd_momentum": Recipe(
        "SGD with heavy-ball momentum", {"momentum": {}}, "Polyak 1964", settings={"lr": 1e-2}
    ),
    "sign_sgd": Recipe("the sign of the gradient", {"sign": {}}, "Bernstein et al. 2018"),
    "signum": Recipe(
        "the sign of the moving average", {"ema": {}, "sign": {}}, "Bernstein et al. 2018"
    ),
    "lion": Recipe(
        "the sign of a mix of gradient and average",
        {"lion_mix": {}, "sign": {}, "weight_decay": {"weight": 0.0}},
        "Chen et al. 2023, arXiv:2302.06675",
        settings={"lr": 1e-4},
    ),
    "normalized_sgd": Recipe(
        "each gradient over its norm",
        {"l2_norm": {}},
        "Hazan et al. 2015, arXiv:1507.02030",
        param_ndim=None,
    ),
    "lars": Recipe(
        "SGD with layer-wise rates",
        {},
        "You et al. 2017, arXiv:1708.03888",
        routes={
            "layers": Part(
                {**MATRICES, "optional": True, "param_ndim": None},
                {"trust_ratio": {"coefficient": 1e-3}, "momentum": {}},
                settings={"lr": 1.0},
            ),
            "vectors": Part(REST, {"momentum": {}}, settings={"lr": 1.0}),
        },
    ),
    "lamb": Recipe(
        "Adam with layer-wise rates",
        {"adam": {"eps": 1e-6}, "weight_decay": {}, "trust_ratio": {}},
        "You et al. 2020, arXiv:1904.00962",
        param_ndim=None,
    ),
    "rmsprop_parts": Recipe("RMSProp from parts", {"rms": {}}, "Tieleman & Hinton 2012"),
    "adam_parts": Recipe("Adam from parts", {"adam": {}}, "Kingma & Ba 2015, arXiv:1412.6980"),
    "adamw_parts": Recipe(
        "AdamW from parts",
        {"adam": {}, "weight_decay": {}},
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
    ),
    "cautious_adamw": Recipe(
        "AdamW without the entries that turn against the gradient",
        {"adam": {}, "cautious": {}, "weight_decay": {}},
        "Liang et al. 2024, arXiv:2411.16085",
        param_ndim=None,
    ),
    "clipped_adam": Recipe(
        "Adam on gradients clipped item by item",
        {"clip_norm": {}},
        "after Pascanu et al. 2013, who clip one norm over all",
        inner="adam",
    ),
    "grokfast_adamw": Recipe(
        "AdamW on gradients with their slow part amplified",
        {"grokfast": {}},
        "Lee et al. 2024, arXiv:2405.20233",
        inner="adamw",
    ),
    "ortho_sgd": Recipe(
        "SGD off the direction of the parameter",
        {"orthogonal_to_param": {}},
        "Prieto et al. 2025, arXiv:2501.04697",
        param_ndim=None,
    ),
    "lookahead_adam": Recipe(
        "Adam with slow weights", {"lookahead": {}}, "Zhang et al. 2019", inner="adam"
    ),
    "muon": Recipe(
        "orthogonalised momentum for matrices and kernels, AdamW for embeddings, the output layer "
        "and vectors",
        {},
        "Jordan et al. 2024",
        routes={
            "embeddings": Part({"role": "embedding", "optional": True}, {}, "adamw"),
            "head": Part({"role": "head", "optional": True}, {}, "adamw"),
            "hidden": Part(
                {"role": "matrix", "param_ndim": None, "optional": True},
                {
                    "ema": {"decay": 0.95, "nesterov": True},
                    "orthogonalize": {"scale": "muon", "dtype": "bfloat16"},
                    "weight_decay": {},
                },
                "sgd",
                {"lr": 0.02},
            ),
            "rest": Part(REST, {}, "adamw"),
        },
    ),
    "agc": Recipe(
        "SGD with gradients clipped to a share of each unit's norm",
        {},
        "Brock et al. 2021, arXiv:2102.06171",
        routes={
            "units": Part({**MATRICES, "optional": True}, {"adaptive_clip": {}}),
            "vectors": Part({**REST, "param_ndim": None}, {"adaptive_clip": {}}),
        },
    ),
    "centralized_sgd": Recipe(
        "SGD on gradients of mean zero",
        {},
        "Yong et al. 2020, arXiv:2004.01461",
        routes={
            "units": Part({**MATRICES, "optional": True}, {"centralize": {}}),
            "vectors": Part(REST, {}),
        },
    ),
    "pgd_l1": Recipe(
        "steepest descent and projection, top-q l1 ball",
        {"topq_steepest": {}, "l1_ball": {}},
        "Tramèr & Boneh 2019, arXiv:1904.13000",
    ),
    "pgd_l2": Recipe(
        "steepest descent and projection, l2 ball",
        {"l2_norm": {}, "l2_ball": {}},
        "Madry et al. 2018, arXiv:1706.06083",
    ),
    "pgd_linf": Recipe(
        "steepest descent and projection, l∞ ball",
        {"sign": {}, "linf_ball": {}},
        "Madry et al. 2018, arXiv:1706.06083",
    ),
    "pgd_simplex": Recipe(
        "gradient descent and projection, simplex",
        {"simplex": {}},
        "Goldstein 1964",
        param_ndim=1,
    ),
    **{
        f"fw_{name}": Recipe(
            f"Frank–Wolfe over the {name} set",
            {ball.steepest.name: {}},
            "Jaggi 2013, ICML",
            inner="frank_wolfe",
            param_ndim=ball.param_ndim,
        )
        for name, ball in BALLS.items()
        if ball.steepest and name in CONVEX
    },
}


def names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(RECIPES)


def get(name: str) -> Recipe:
    """Return the recipe of that name; an unknown one is a `ValueError` with close matches."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe `{name}`: {close_matches(name, names())}")
    return RECIPES[name]


def inner_class(name: str) -> Callable[..., Optimizer]:
    """Return the inner optimizer that a recipe names."""
    return FrankWolfe if name == "frank_wolfe" else inner_optimizers()[name]


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
    recipe, chain = get(name), chain or {}
    known = [*recipe.chain, *(link for part in recipe.routes.values() for link in part.chain)]
    unknown = [link for link in chain if link not in known]
    if unknown:
        hint = close_matches(unknown[0], known)
        raise ValueError(f"recipe `{name}` has no transform `{unknown[0]}`: {hint}")
    if recipe.routes:
        routes = {
            key: Route(
                **part.rule,
                transforms=_links(part.chain, chain),
                inner=partial(inner_class(part.inner), **{**part.settings, **settings}),
            )
            for key, part in recipe.routes.items()
        }
        return RoutedOptimizer(params, routes)
    return ParamTransformingOptimizer(
        named(params),
        inner_class(recipe.inner),
        transforms=_links(recipe.chain, chain),
        param_ndim=recipe.param_ndim,
        strict_ndim=False,
        **{**recipe.settings, **settings},
    )


def _links(chain: Chain, changed: Chain) -> dict[str, transforms.Link]:
    return {
        name: transforms.get(name)(**{**settings, **changed.get(name, {})})
        for name, settings in chain.items()
    }
