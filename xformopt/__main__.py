"""`python -m xformopt`: the tables of transforms, recipes and inner optimizers."""

import inspect
import sys

from xformopt import transforms
from xformopt.table import inner_rows, recipe_rows, transform_rows
from xformopt.text import as_text


def main() -> int:
    """Print the tables, or all that there is to know of the transform that is named."""
    asked = [name for name in sys.argv[1:] if name not in ("-h", "--help")]
    try:
        print("\n\n".join(map(_describe, asked)) if asked else _tables())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _tables() -> str:
    rows = [(row.name, row.when, row.settings, row.what) for row in transform_rows()]
    return "\n".join(
        [
            as_text(("transform", "when", "settings", "what"), rows),
            "",
            "Each takes param_ndim and when as well. All about one: python -m xformopt top_q",
            "",
            as_text(("recipe", "what", "chain", "inner optimizer"), [r[:4] for r in recipe_rows()]),
            "",
            as_text(("inner optimizer", "settings"), inner_rows()),
        ]
    )


def _describe(name: str) -> str:
    transform = transforms.get(name)
    laws = ", ".join(transform.laws) or "none declared"
    settings = inspect.signature(transform).parameters.values()
    call = f"{name}({', '.join(f'{a.name}={a.default!r}' for a in settings)})"
    return f"{call}\nlaws: {laws}\n\n{inspect.getdoc(transform.fn)}"


if __name__ == "__main__":
    sys.exit(main())
