"""Other packages that do the same, where they are installed."""

from importlib import import_module
from typing import Any

RAI = "rai_toolbox.optim"


def found(module: str, name: str | None) -> Any:
    """Return what a module has under a name, or None where either is missing.

    >>> found("math", "pi") > 3, found("math", "tau_squared"), found("no_such_module", "pi")
    (True, None, None)
    """
    try:
        return getattr(import_module(module), name) if name else None
    except (ImportError, AttributeError):
        return None
