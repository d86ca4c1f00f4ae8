"""A routing as a table."""

from collections.abc import Iterable, Mapping

from xformopt.optim.assigning import Named
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.route import Route
from xformopt.text import as_text

HEADER = ("route", "rule", "inner", "transforms", "parameters", "entries", "shapes")


def describe(
    routes: Mapping[str, Route],
    optimizers: Mapping[str, ParamTransformingOptimizer],
    frozen: Mapping[str, Named],
) -> str:
    """Return a row for each route: its rule, its optimizer, and the parameters it took."""
    rows = [
        _row(
            name,
            routes[name],
            type(o.inner_opt).__name__,
            ", ".join(o.transforms) or "none",
            _taken(o),
        )
        for name, o in optimizers.items()
        if o.param_groups
    ]
    rows += [_row(name, routes[name], "frozen", "", taken) for name, taken in frozen.items()]
    return as_text(HEADER, rows)


def _taken(optimizer: ParamTransformingOptimizer) -> Named:
    return [
        pair
        for group in optimizer.param_groups
        for pair in zip(group["param_names"], group["params"], strict=True)
    ]


def _row(name: str, route: Route, inner: str, chain: str, taken: Named) -> tuple[str, ...]:
    shapes = dict.fromkeys(str(tuple(p.shape)) for _, p in taken)
    names = ", ".join(_patterns(name for name, _ in taken))
    entries = str(sum(p.numel() for _, p in taken))
    return name, repr(route), inner, chain, names, entries, " ".join(shapes)


def _patterns(names: Iterable[str]) -> list[str]:
    """Return the names; those that differ in numbers alone once, as `blocks.*.weight (12)`."""
    like: dict[str, list[str]] = {}
    for name in names:
        pattern = ".".join("*" if part.isdigit() else part for part in name.split("."))
        like.setdefault(pattern, []).append(name)
    return [f"{k} ({len(held)})" if held[1:] else held[0] for k, held in like.items()]
