"""What a recipe is: a published optimizer as a chain of transforms and an inner optimizer."""

from dataclasses import dataclass, field
from typing import Any, Literal

from xformopt.recipes.space import Space

Chain = dict[str, dict[str, Any]]
"""Transforms by name, each with the settings that differ from its own defaults."""

REST: dict[str, Any] = {"optional": True}
"""The rule of a route that takes what the others leave, if there is anything."""

LAYERS: dict[str, Any] = {"ndim": ">=2", "param_ndim": None, **REST}
"""That of one which takes matrices and kernels, each as one item."""

Purpose = Literal["training", "constraints", "attacks"]
"""Training networks; minimising over a set; searching the worst input in a ball."""


@dataclass(frozen=True)
class RecipeRoute:
    """A route of a recipe: its rule, with the chain and the inner optimizer behind it."""

    rule: dict[str, Any]
    chain: Chain = field(default_factory=dict)
    inner: str = "sgd"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A published optimizer: its chain, its inner optimizer with settings; or its routes.

    `space` is what is searched beside the learning rates and what its inner optimizer has.
    """

    what: str
    chain: Chain
    source: str
    inner: str = "sgd"
    settings: dict[str, Any] = field(default_factory=dict)
    param_ndim: int | None = -1
    routes: dict[str, RecipeRoute] = field(default_factory=dict)
    purpose: Purpose = "training"
    space: Space = field(default_factory=dict)
