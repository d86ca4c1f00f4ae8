"""Recipes: published optimizers written as a chain of transforms and an inner optimizer."""

from xformopt.recipes.building import build, inner_classes, parts, routes
from xformopt.recipes.index import RECIPES, get, names
from xformopt.recipes.recipe import Chain, Purpose, Recipe, RecipeRoute

__all__ = [
    "RECIPES",
    "Chain",
    "Purpose",
    "Recipe",
    "RecipeRoute",
    "build",
    "get",
    "inner_classes",
    "names",
    "parts",
    "routes",
]
