"""The registry of named transforms: `@transform`, `get`, `names`, and entry points."""

import functools
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Literal, overload

from xformopt.refused import Refused
from xformopt.text import close_matches
from xformopt.transforms.definition import Items, Law, Standard, State, Transform

ENTRY_POINTS = "xformopt.transforms"
"""The entry-point group through which other packages register transforms."""

_registry: dict[str, Transform] = {}


@overload
def transform(fn: Callable[..., None]) -> Transform: ...
@overload
def transform(
    *,
    state: State = (),
    elementwise: bool = False,
    foreach: Callable[..., Any] | None = None,
    costly: bool = False,
    items: Items = "item",
    scope: Literal["item", "optimizer"] = "item",
    laws: tuple[Law, ...] = (),
    check: Callable[..., str | None] | None = None,
    draws: Callable[..., bool] | None = None,
    standard: Standard | None = None,
    averages: str | None = None,
) -> Callable[[Callable[..., None]], Transform]: ...
def transform(fn: Callable[..., None] | None = None, **declared: Any) -> Any:
    """Register an in-place function of a batch tensor under its name.

    The first argument, `grad`, `update` or `param`, is what it writes: before the inner step, what
    this step changed, or after it. Then come the tensors that it reads: `param`, for an update that
    of before the step, `grad`, `raw_grad`, the gradient before the chain, and beside `param` the
    `update`; then its state buffers. Settings are keyword-only and typed; `lr` is the group's rate.

    Args:
        fn: the function; it writes its first argument in place and returns nothing.
        **declared: `state`, the names of its buffers, zero at first, or a mapping from names to
            functions of the parameter, to `PerItem` for zeros in a shape of their own for each
            item, or to 'counter' for a scalar, 'host_counter' for one on the CPU; `elementwise`,
            whether it treats each entry on its own; `foreach`, then, the same for lists of
            tensors, by torch's multi-tensor kernels; `costly`, whether it computes so much that
            one call for several large tensors is worth copying them; `items`, 'matrix' where the
            shape of an item matters: it is seen as `(d1, d2·d3·…)`, or as one column if it has one
            dimension; 'entry' where each entry is treated on its own, though steps are counted;
            `scope`, 'optimizer' for one call with all gradients as the list `grads`; `laws`, what
            holds for it; `check`, a function of the settings that returns what is wrong with them
            together; `draws`, one that returns whether random numbers are drawn, where having a
            generator does not mean it; `standard`, what torch's optimizers call a setting,
            `{"momentum": "decay"}`, or several, `{"betas": ("beta1", "beta2")}`; `averages`, the
            buffer that is an average of the parameter, which may be judged in its place.

    >>> from torch import Tensor, tensor
    >>> @transform(elementwise=True)
    ... def halve(grad: Tensor, *, times: int = 1) -> None:
    ...     grad.mul_(0.5**times)
    >>> halve(times=2)
    halve(times=2)
    >>> remove("halve")
    """
    if fn is None:
        return lambda f: transform(f, **declared)  # type: ignore[call-overload]
    made = Transform(fn, **declared)
    if "_global_" in made.name:
        raise Refused(f"`{made.name}`: Hydra reads `_global_` in a name as its root; rename it")
    known = _registry.get(made.name)
    if known and known.__module__ != made.__module__:
        raise Refused(
            f"a transform `{made.name}` is registered already, by {known.__module__}; "
            "choose another name or `remove` that one"
        )
    _registry[made.name] = made
    return made


def remove(name: str) -> None:
    """Take a transform off the registry."""
    get(name)
    del _registry[name]


def names() -> list[str]:
    """Return the names of all transforms, those of other packages included, sorted."""
    _load_entry_points()
    return sorted(_registry)


def get(name: str) -> Transform:
    """Return the transform of that name; an unknown one is a `ValueError` with close matches.

    >>> get("sgn")
    Traceback (most recent call last):
    xformopt.refused.Refused: unknown transform `sgn`: did you mean `sign`?
    """
    if name not in _registry and name not in names():
        raise Refused(f"unknown transform `{name}`: {close_matches(name, names())}")
    return _registry[name]


@functools.cache
def _load_entry_points() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            warnings.warn(
                f"entry point `{entry.name}` of group {ENTRY_POINTS} ({entry.value}) could not be "
                f"loaded and is left out: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
