"""The laws that transforms and inner optimizers keep, for the tests here and for third parties.

>>> from xformopt import testing, transforms as T
>>> testing.check_transform(T.sign)
>>> testing.check_inner(torch.optim.AdamW, lr=1e-2)
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xformopt.optim import ParamTransformingOptimizer
from xformopt.testing.calls import (
    TOLERANCE,
    Check,
    apply,
    descend,
    given_for,
    is_random,
    settings_for,
)
from xformopt.testing.declared import DECLARED
from xformopt.testing.laws import FOR_ALL
from xformopt.transforms import Transform

__all__ = [
    "DECLARED",
    "FOR_ALL",
    "TOLERANCE",
    "apply",
    "check_inner",
    "check_transform",
    "is_random",
    "laws_of",
]

SHAPES = [(3, 4), (1, 1), (4, 2, 3), (2, 3, 1, 2)]


def laws_of(transform: Transform) -> dict[str, Check]:
    """Return the laws that a transform must keep: those for all, and those that it declares."""
    return {**FOR_ALL, **{law: DECLARED[law] for law in transform.laws}}


def check_transform(transform: Transform, **settings: Any) -> None:
    """Try a transform, under settings other than its defaults if some are given, against its laws.

    An `AssertionError` names the law, dtype and shape.
    """
    transform = _configured(transform, settings)
    for law, check in laws_of(transform).items():
        for x in _samples():
            try:
                check(transform, x)
            except Exception as error:
                said = error if isinstance(error, AssertionError) else repr(error)
                raise AssertionError(
                    f"transform `{transform.name}` breaks the law `{law}` ({check.__doc__}) for "
                    f"{x.dtype} of shape {tuple(x.shape)}: {said}"
                ) from error
    assert any(_changes(transform, x) for x in _samples()), (
        f"transform `{transform.name}` changed nothing in any sample: it must write to "
        f"`{transform.target}` in place, e.g. `{transform.target}.copy_(new)`; if it does nothing "
        "by default, pass settings under which it acts"
    )


def check_inner(InnerOpt: Callable[..., Optimizer], **settings: Any) -> None:
    """Try an inner optimizer: wrapped without transforms it must step as it does by itself."""
    native, wrapped, copied = (torch.randn(3, 4).requires_grad_() for _ in range(3))
    with torch.no_grad():
        wrapped.copy_(native)
    bare = InnerOpt([native], **settings)
    optim = ParamTransformingOptimizer([wrapped], InnerOpt, **settings)
    for name in ("param_groups", "state", "defaults"):
        assert getattr(optim, name) is getattr(optim.inner_opt, name), f"`{name}` is not mirrored"
    descend(bare, native)
    descend(optim, wrapped)
    assert torch.equal(native, wrapped), "wrapped, it steps otherwise than bare"
    saved = copy.deepcopy(optim.state_dict())
    with torch.no_grad():
        copied.copy_(wrapped)
    loaded = ParamTransformingOptimizer([copied], InnerOpt, **settings)
    loaded.load_state_dict(saved)
    descend(optim, wrapped)
    descend(loaded, copied)
    assert torch.equal(wrapped, copied), "loaded from its state dict, it steps otherwise"


def _samples() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for dtype in TOLERANCE:
        for shape in SHAPES:
            yield torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _configured(transform: Transform, settings: dict[str, Any]) -> Transform:
    """Return the transform with `settings` for its defaults; the registry's own stays as it is."""
    transform.complete(settings)
    made = object.__new__(Transform)
    vars(made).update(vars(transform))
    made.settings = {
        name: replace(s, default=settings.get(name, s.default))
        for name, s in transform.settings.items()
    }
    return made


def _changes(transform: Transform, x: Tensor) -> bool:
    """Return whether any of several calls, on ever larger tensors, with the state kept, acts."""
    written, *others = given_for(transform, x)
    for _ in range(12):
        written.mul_(-1.5)
        before = written.clone()
        given = [written] if transform.scope == "optimizer" else written
        transform.fn(given, *others, **settings_for(transform))
        if not torch.equal(written, before):
            return True
    return False
