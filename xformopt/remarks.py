"""What should be said of an optimizer: settings that do nothing, or not what they seem to."""

import inspect
from typing import Any

from torch.optim import Optimizer

from xformopt.making import DEFAULT_NDIM
from xformopt.optim import ParamTransformingOptimizer, parts_of
from xformopt.optim.hooks import HOOKS
from xformopt.transforms.link import INHERIT

ACTS_BY = {"dampening": "momentum", "decoupled_weight_decay": "weight_decay"}
"""Settings of torch's optimizers that act by way of another one."""


def remarks(optimizer: Optimizer, within: str = "") -> list[str]:
    """Return a line for each setting on which nothing depends, and each `param_ndim` too large.

    `within` is where the optimizer stands in a config, "optim." for one.

    >>> import torch
    >>> from xformopt import transforms as T
    >>> x = [torch.zeros(2, 3)]
    >>> remarks(ParamTransformingOptimizer(x, transforms=[T.sign()], param_ndim=1))
    ['`param_ndim=1`: nothing depends on it, since every link acts entry by entry or has its own']
    """
    return [
        f"route `{route}`: {line}" if route else line
        for route, part in parts_of(optimizer).items()
        if isinstance(part, ParamTransformingOptimizer)
        for line in _of(part, f"{within}routes.{route}." if route and within else within)
    ]


def _of(optimizer: ParamTransformingOptimizer, within: str) -> list[str]:
    return [*_ndims(optimizer, within), *_of_links(optimizer, within), *_of_inner(optimizer)]


def _of_links(optimizer: ParamTransformingOptimizer, within: str) -> list[str]:
    return [
        f"`{within}transforms.{name}.param_ndim={ndim}`: nothing depends on it, since `{name}` "
        "acts entry by entry"
        for name, link in optimizer.transforms.items()
        if (ndim := link.settings["param_ndim"]) != INHERIT and link.transform.items == "entry"
    ]


def _of_inner(optimizer: ParamTransformingOptimizer) -> list[str]:
    """Return a line for each setting of the inner optimizer that acts by way of one that is 0."""
    inner = type(optimizer.inner_opt)
    settings = inspect.signature(inner).parameters
    lines = [
        f"`{key}={group[key]}` of {inner.__name__}: nothing depends on it, since `{by}` is 0"
        for group in optimizer.param_groups
        for key, by in ACTS_BY.items()
        if key in settings and group.get(key) and not group.get(by)
    ]
    return list(dict.fromkeys(lines))


def _ndims(optimizer: ParamTransformingOptimizer, within: str) -> list[str]:
    chosen: dict[Any, list[str]] = {}
    for group in optimizer.param_groups:
        chosen.setdefault(group["param_ndim"], []).extend(_small(group))
    if not _reads_ndim(optimizer):
        return [
            f"`{within}param_ndim={ndim}`: nothing depends on it, since {_why(optimizer)}"
            for ndim in chosen
            if ndim != DEFAULT_NDIM
        ]
    return [
        f"`{within}param_ndim={ndim}`: taken whole, having fewer dimensions: {_few(small)}"
        for ndim, small in chosen.items()
        if small
    ]


def _why(optimizer: ParamTransformingOptimizer) -> str:
    if not optimizer.transforms:
        return "there is no link"
    return "every link acts entry by entry or has its own"


def _reads_ndim(optimizer: ParamTransformingOptimizer) -> bool:
    if any(optimizer._acts(when) for when in HOOKS):
        return True
    return any(link.reads_param_ndim for link in optimizer.transforms.values())


def _small(group: dict[str, Any]) -> list[str]:
    least = abs(group["param_ndim"] or 0)
    names = group.get("param_names") or [f"a tensor {tuple(p.shape)}" for p in group["params"]]
    return [n for n, p in zip(names, group["params"], strict=True) if p.ndim < least]


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", … ({len(names)})" if names[3:] else "")
