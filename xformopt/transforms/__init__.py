"""The transforms by name, and the registry that they stand in.

Every module of this package is imported, and each transform that one registers is an attribute
here, so that a new transform is written in one place only.
"""

import importlib
import pkgutil

from xformopt.transforms.buffers import PerItem
from xformopt.transforms.definition import Transform
from xformopt.transforms.link import Link
from xformopt.transforms.registry import get, names, remove, transform

__all__ = ["Link", "PerItem", "Transform", "get", "names", "remove", "transform"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def __getattr__(name: str) -> Transform:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return get(name)
    except ValueError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from None


def __dir__() -> list[str]:
    return [*__all__, *names()]
