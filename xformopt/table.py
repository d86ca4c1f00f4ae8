"""The tables that `python -m xformopt` prints, derived from the registry."""

import inspect
from typing import Any, NamedTuple

from xformopt import transforms
from xformopt.optim import inner_optimizers
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


def transform_rows() -> list[TransformRow]:
    """Return a row for each registered transform."""
    return [_transform_row(transforms.get(name)) for name in transforms.names()]


def inner_rows() -> list[tuple[str, str]]:
    """Return name and settings of each inner optimizer."""
    return [(name, _settings(cls)) for name, cls in inner_optimizers().items()]


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
