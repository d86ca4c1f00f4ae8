"""The tables that `python -m xformopt` prints, derived from the registry."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from xformopt import recipes, transforms
from xformopt.optim import inner_optimizers
from xformopt.text import as_markdown
from xformopt.transforms import Transform


class TransformRow(NamedTuple):
    """What is said of a transform in a table."""

    name: str
    when: str
    settings: str
    laws: str
    formula: str
    what: str
    source: str
    ndim: str


def transform_rows() -> list[TransformRow]:
    """Return a row for each registered transform."""
    return [_transform_row(transforms.get(name)) for name in transforms.names()]


class RecipeRow(NamedTuple):
    """What is said of a recipe in a table."""

    name: str
    purpose: str
    what: str
    chain: str
    inner: str
    source: str


def recipe_rows() -> list[RecipeRow]:
    """Return a row for each recipe; routes are separated by semicolons."""
    return [_recipe_row(name, recipes.get(name)) for name in recipes.names()]


def inner_rows() -> list[tuple[str, str]]:
    """Return name and settings of each inner optimizer."""
    return [(name, _settings(cls)) for name, cls in inner_optimizers().items()]


def markdown(references: Mapping[str, str], parity: Mapping[str, str]) -> str:
    """Return the README's tables.

    Args:
        references: for each recipe, the implementation that it is tested against.
        parity: for each recipe, its error against that.
    """
    header = ("transform", "what", "formula", "ndim", "laws", "paper")
    rows = [(f"`{r.name}`", r.what, r.formula, r.ndim, r.laws, r.source) for r in transform_rows()]
    recipe_header = (
        "recipe", "for", "what", "chain", "inner", "reference", "parity error", "paper",
    )  # fmt: skip
    recipe_lines = [
        (f"`{r.name}`", *r[1:5], references[r.name], parity[r.name], r.source)
        for r in recipe_rows()
    ]
    return (
        f"### Transforms\n\n{as_markdown(header, rows)}\n\n"
        f"### Recipes\n\n{as_markdown(recipe_header, recipe_lines)}\n"
    )


def _transform_row(transform: Transform) -> TransformRow:
    lines = (inspect.getdoc(transform.fn) or "").splitlines()
    formula = next((line for line in lines if "←" in line), "")
    settings = [s for s in transform.settings.values() if not s.is_resource]
    source = " ".join("\n".join(lines).partition("Source: ")[2].split())
    what = lines[0] if lines else ""
    return TransformRow(
        transform.name,
        transform.when,
        ", ".join(f"{s.name}={_short(s.default)}" for s in settings),
        ", ".join(transform.laws),
        formula,
        what,
        source,
        _ndim(transform),
    )


def _ndim(transform: Transform) -> str:
    """Say how much a transform looks at: entries, items, items as matrices, or everything."""
    if transform.scope == "optimizer":
        return "all"
    return transform.items


def _recipe_row(name: str, recipe: recipes.Recipe) -> RecipeRow:
    parts = list(recipe.routes.values()) or [recipe]
    chains = [" → ".join(_link(n, s) for n, s in part.chain.items()) or "—" for part in parts]
    inners = [_link(part.inner, part.settings) for part in parts]
    if recipe.routes:
        chains = [f"{route}: {chain}" for route, chain in zip(recipe.routes, chains, strict=True)]
    return RecipeRow(
        name, recipe.purpose, recipe.what, "; ".join(chains), "; ".join(inners), recipe.source
    )


def _link(name: str, settings: dict[str, Any]) -> str:
    inside = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return f"{name}({inside})" if inside else name


def _settings(cls: type) -> str:
    arguments = inspect.signature(cls).parameters.values()
    return ", ".join(f"{a.name}={_short(a.default)}" for a in arguments if a.default is not a.empty)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
