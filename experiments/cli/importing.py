"""What a dotted path names, or why it names nothing."""

import logging
from importlib import import_module
from typing import Any

from hydra.utils import get_object

from experiments.cli.said import joined
from xformopt.refused import Refused
from xformopt.text import close_matches

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it prints what is raised as well


def imported(key: str, target: str) -> Any:
    """Return what the `_target_` of a node names."""
    try:
        return get_object(target)
    except (ImportError, ValueError) as error:
        why = missing_of(target) or joined(str(error))
        raise Refused(f"`{key}._target_`: `{target}` cannot be imported: {why}") from error


def missing_of(path: str) -> str:
    """Return what of a dotted path is not there, and the names that are close to it."""
    module, _, name = path.rpartition(".")
    try:
        known = [key for key in dir(import_module(module)) if not key.startswith("_")]
    except ModuleNotFoundError as error:
        return f"there is no module `{error.name}`"
    except (ImportError, ValueError):
        return ""
    said = close_matches(name, known)
    return said if said.startswith("did you mean") else f"`{module}` has no `{name}`"
