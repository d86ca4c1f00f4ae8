"""The inner optimizers that torch has, by name."""

import inspect

import torch
from torch.optim import Optimizer


def inner_optimizers() -> dict[str, type[Optimizer]]:
    """Return the optimizers of the installed `torch.optim`, by lower-case name.

    >>> "adamw" in inner_optimizers()
    True
    """
    found = vars(torch.optim).values()
    classes = [c for c in found if inspect.isclass(c) and issubclass(c, Optimizer)]
    return {
        c.__name__.lower(): c
        for c in sorted(classes, key=lambda c: c.__name__.lower())
        if _needs_only_params(c)
    }


def _needs_only_params(cls: type[Optimizer]) -> bool:
    arguments = list(inspect.signature(cls).parameters.values())
    required = [a.name for a in arguments if a.default is a.empty and a.kind is not a.VAR_KEYWORD]
    return cls is not Optimizer and required == ["params"]
