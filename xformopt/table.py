"""The tables that `python -m xformopt` prints, derived from the registry."""

import inspect
from collections.abc import Iterable
from typing import Any, NamedTuple

from xformopt import transforms
from xformopt.optim import inner_optimizers
from xformopt.transforms import Transform

Row = tuple[str, ...]


class TransformRow(NamedTuple):
    """What is said of a transform in a table."""

    name: str
    when: str
    settings: str
    laws: str
    formula: str
    what: str
    source: str


def transform_rows() -> list[TransformRow]:
    """Return a row for each registered transform."""
    return [_transform_row(transforms.get(name)) for name in transforms.names()]


def inner_rows() -> list[Row]:
    """Return name and settings of each inner optimizer."""
    return [(name, _settings(cls)) for name, cls in inner_optimizers().items()]


def as_text(header: Row, rows: Iterable[Row]) -> str:
    """Lay out a table for a terminal; the last column may be as long as it likes.

    >>> print(as_text(("name", "what"), [("sign", "±1")]))
    name  what
    ----  ----
    sign  ±1
    """
    table = [header, tuple("-" * len(h) for h in header), *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def _transform_row(transform: Transform) -> TransformRow:
    lines = (inspect.getdoc(transform.fn) or "").splitlines()
    formula = next((line for line in lines if "←" in line), "")
    settings = [s for s in transform.settings.values() if not s.is_resource]
    source = next((line for line in lines if line.startswith("Source: ")), "")
    what = lines[0] if lines else ""
    return TransformRow(
        transform.name,
        transform.when,
        ", ".join(f"{s.name}={_short(s.default)}" for s in settings),
        ", ".join(transform.laws),
        formula,
        what,
        source.removeprefix("Source: "),
    )


def _settings(cls: type) -> str:
    arguments = inspect.signature(cls).parameters.values()
    return ", ".join(f"{a.name}={_short(a.default)}" for a in arguments if a.default is not a.empty)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
