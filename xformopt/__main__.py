"""`python -m xformopt`: the tables of transforms, recipes and inner optimizers."""

import inspect
import os
import sys

from xformopt import recipes, transforms
from xformopt.optim import inner_optimizers
from xformopt.table import inner_rows, recipe_rows, transform_rows
from xformopt.text import as_text, close_matches

RECIPE = ("recipe", "for", "what", "chain", "inner optimizer")


def main() -> int:
    """Print the tables, or all that there is to know of what is named."""
    asked = [name for name in sys.argv[1:] if name not in ("-h", "--help")]
    try:
        print("\n\n".join(map(_describe, asked)) if asked else _tables(), flush=True)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _tables() -> str:
    rows = [(row.name, row.when, row.settings, row.what) for row in transform_rows()]
    return "\n".join(
        [
            as_text(("transform", "when", "settings", "what"), rows),
            "",
            "Each takes param_ndim and when as well. All about one: python -m xformopt top_q",
            "",
            as_text(RECIPE, [row[:5] for row in recipe_rows()]),
            "",
            as_text(("inner optimizer", "settings"), inner_rows()),
        ]
    )


def _describe(name: str) -> str:
    """Describe the transform, the recipe and the inner optimizer of that name."""
    said = []
    if name in transforms.names():
        said.append(_transform(name))
    if name in recipes.names():
        row = next(row for row in recipe_rows() if row.name == name)
        said.append(
            f"optim={name}: {row.what}\nfor: {row.purpose}\nchain: {row.chain}\n"
            f"inner optimizer: {row.inner}\npaper: {row.source}\n"
            f"searched: {_space(recipes.space(name))}"
        )
    if name in inner_optimizers():
        settings, searched = dict(inner_rows())[name], _space(recipes.space(inner=name))
        said.append(f"optim/inner={name}: {settings}\nsearched: {searched}")
    if not said:
        known = {*transforms.names(), *recipes.names(), *inner_optimizers()}
        hint = close_matches(name, sorted(known))
        raise ValueError(f"no transform, recipe or inner optimizer is called `{name}`: {hint}")
    return "\n\n".join(said)


def _space(space: recipes.Space) -> str:
    return ", ".join(f"{key} {searched}" for key, searched in space.items())


def _transform(name: str) -> str:
    transform = transforms.get(name)
    laws = ", ".join(transform.laws) or "none declared"
    settings = inspect.signature(transform).parameters.values()
    call = f"{name}({', '.join(f'{a.name}={a.default!r}' for a in settings)})"
    return f"{call}\nlaws: {laws}\n\n{inspect.getdoc(transform.fn)}"


if __name__ == "__main__":
    sys.exit(main())
