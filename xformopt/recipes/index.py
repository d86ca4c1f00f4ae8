"""All recipes, by name."""

from xformopt.recipes.matrix import MATRIX
from xformopt.recipes.published import TRAINING
from xformopt.recipes.recipe import Recipe
from xformopt.recipes.sets import CONSTRAINED
from xformopt.refused import Refused
from xformopt.text import close_matches

RECIPES: dict[str, Recipe] = {**TRAINING, **MATRIX, **CONSTRAINED}


def names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(RECIPES)


def get(name: str) -> Recipe:
    """Return the recipe of that name; an unknown one is a `ValueError` with close matches."""
    if name not in RECIPES:
        raise Refused(f"unknown recipe `{name}`: {close_matches(name, names())}")
    return RECIPES[name]
