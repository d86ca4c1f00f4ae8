"""Calls of a transform by itself: what it is given, and how its results are compared."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xformopt.transforms import Link, Transform
from xformopt.transforms.settings import RATE

Check = Callable[[Transform, Tensor], None]

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 4e-3,
}
"""Relative and absolute tolerance by dtype, for values of about 1."""


def apply(
    transform: Transform,
    x: Tensor,
    seed: int = 0,
    shape: tuple[int, ...] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Tensor:
    """Apply a transform to a copy of `x`, shape `(N, *d)`, and return the copy.

    With `shape`, it is given `x`, and what stands beside it, in that shape; its settings are the
    defaults but for those given.
    """
    shape = shape or x.shape
    beside = [beside_of(x).reshape(shape) for _ in transform.tensors[1:]]
    y = x.clone().reshape(shape)
    written = [y] if transform.scope == "optimizer" else y
    transform.fn(
        written,
        *beside,
        *transform.fresh(y),
        **{**settings_for(transform, seed), **(settings or {})},
    )
    return y


def is_random(transform: Transform) -> bool:
    """Return whether a transform's result hangs on its generator."""
    x = torch.ones(4, 8)
    return not torch.equal(apply(transform, x, 0), apply(transform, x, 1))


def given_for(transform: Transform, x: Tensor) -> list[Tensor]:
    """Return what a transform is given for `x`: a copy, what stands beside it, its buffers."""
    beside = [beside_of(x) for _ in transform.tensors[1:]]
    return [x.clone(), *beside, *transform.fresh(x)]


def written_by(transform: Transform, given: list[Tensor]) -> Tensor:
    """Call a transform on what it is given, and return what it wrote."""
    written, *others = given
    first = [written] if transform.scope == "optimizer" else written
    transform.fn(first, *others, **settings_for(transform))
    return written


def settings_for(transform: Transform, seed: int = 0) -> dict[str, Any]:
    """Return the defaults, a seeded generator where one is taken, and the rate where it is read."""
    rate = {RATE: 0.5} if transform.reads_rate else {}
    return {**transform.complete({}), **_resources(transform, seed), **rate}


def link_for(transform: Transform, seed: int = 0) -> Link:
    """Return a link with the defaults, and a seeded generator where one is taken."""
    return transform(**_resources(transform, seed))


def _resources(transform: Transform, seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {k: generator for k, s in transform.settings.items() if s.is_resource}


def beside_of(x: Tensor) -> Tensor:
    """Return what stands beside `x`: of its shape, and the same for the same items."""
    return (x.abs().sqrt() - 0.5).roll(1, dims=-1).neg()


def check_finite(x: Tensor) -> None:
    """Assert that all entries are finite."""
    assert x.isfinite().all(), f"not finite: {x}"


def check_close(a: Tensor, b: Tensor) -> None:
    """Assert that two tensors are equal up to the tolerance of the dtype of the first."""
    torch.testing.assert_close(a, b, rtol=TOLERANCE[a.dtype], atol=TOLERANCE[a.dtype])


def descend(optimizer: Optimizer, p: Tensor) -> None:
    """Take three steps towards 1."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p - 1).square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)  # type: ignore[arg-type]
