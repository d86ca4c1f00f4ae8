"""Recipes: published optimizers written as a chain of transforms and an inner optimizer."""

from xformopt.recipes.building import build, inner_classes, parts, routes, space
from xformopt.recipes.index import RECIPES, get, names
from xformopt.recipes.recipe import Chain, Purpose, Recipe, RecipeRoute
from xformopt.recipes.space import Range, Space

__all__ = [
    "RECIPES",
    "Chain",
    "Purpose",
    "Range",
    "Recipe",
    "RecipeRoute",
    "Space",
    "build",
    "get",
    "inner_classes",
    "names",
    "parts",
    "routes",
    "space",
]
