"""What a transform's signature says: what it writes and reads, and the call that makes a link."""

import inspect
from collections.abc import Callable
from typing import Any

from xformopt.refused import RefusedType
from xformopt.transforms.link import INHERIT, When
from xformopt.transforms.settings import RATE

READ = {
    "grad": ("param", "raw_grad"),
    "update": ("param", "grad", "raw_grad"),
    "param": ("grad", "raw_grad", "update"),
    "grads": (),
}
"""What a transform may write, its first argument, and what it may read beside it."""

EMPTY = inspect.Parameter.empty

TIMES: dict[str, When] = {"grad": "pre", "grads": "pre", "update": "update", "param": "post"}
"""When each is written, unless a link says otherwise."""


def tensors_of(fn: Callable[..., None], state: tuple[str, ...], scope: str) -> tuple[str, ...]:
    """Return the names of the tensors that it writes and reads, which stand before its state."""
    arguments = inspect.signature(fn).parameters
    positional = tuple(k for k, a in arguments.items() if a.kind is a.POSITIONAL_OR_KEYWORD)
    count = len(positional) - len(state)
    tensors, held = positional[:count], positional[count:]
    known = [first for first in READ if (first == "grads") == (scope == "optimizer")]
    first, reads = tensors[:1], tensors[1:]
    if RATE in positional or (RATE in arguments and arguments[RATE].default is not EMPTY):
        raise RefusedType(
            f"`{RATE}` of transform `{fn.__name__}` must be keyword-only and without a default, "
            f"since it is the group's: put it after `*`, `*, {RATE}: Rate`"
        )
    if not (held == state and {*first} & {*known} and {*reads} <= {*READ[first[0]]}):
        may = ", or ".join(f"`{first}`{_beside(first)}" for first in known)
        raise RefusedType(
            f"the arguments of transform `{fn.__name__}` must be what it writes, then what it "
            f"reads, then its state {state}; got {positional}; it may write {may}"
        )
    return tensors


def _beside(first: str) -> str:
    reads = " or ".join(f"`{name}`" for name in READ[first])
    return f" beside {reads}" if reads else ""


def link_signature(fn: Callable[..., None], when: When, keeps: bool) -> inspect.Signature:
    """The signature of the call that makes a link: settings, and what all links have."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    settings = [
        a.replace(annotation=Any)
        for a in inspect.signature(fn).parameters.values()
        if a.kind is keyword and a.name != RATE
    ]
    shared = [
        inspect.Parameter("param_ndim", keyword, default=INHERIT, annotation=Any),
        inspect.Parameter("when", keyword, default=when, annotation=Any),
    ]
    if keeps:
        shared.append(inspect.Parameter("state_dtype", keyword, default=None, annotation=Any))
    return inspect.Signature([*settings, *shared])
