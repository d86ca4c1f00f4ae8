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
from xformopt.transforms import Link, Transform

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 4e-3,
}
"""Relative and absolute tolerance by dtype, for values of about 1."""

SHAPES = [(3, 4), (1, 1), (4, 2, 3), (2, 3, 1, 2)]

Check = Callable[[Transform, Tensor], None]


def apply(
    transform: Transform, x: Tensor, seed: int = 0, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Apply a transform with its defaults to a copy of `x`, shape `(N, *d)`; return the copy.

    With `shape`, it is given `x`, and what stands beside it, in that shape.
    """
    shape = shape or x.shape
    beside = [_beside(x).reshape(shape) for _ in transform.tensors[1:]]
    y = x.clone().reshape(shape)
    state = [initialise(y) for initialise in transform.state.values()]
    written = [y] if transform.scope == "optimizer" else y
    transform.fn(written, *beside, *state, **_settings(transform, seed))
    return y


def items_are_independent(transform: Transform, x: Tensor) -> None:
    """f(x)[i] = f(x[i:i+1]): an item's result hangs on that item alone."""
    if transform.scope == "optimizer" or is_random(transform):
        return
    whole = apply(transform, x)
    for i in range(len(x)):
        _close(whole[i : i + 1], apply(transform, x[i : i + 1]))


def zeros_stay_finite(transform: Transform, x: Tensor) -> None:
    """f(0) is finite."""
    _finite(apply(transform, torch.zeros_like(x)))


def extremes_stay_finite(transform: Transform, x: Tensor) -> None:
    """f(x) is finite for small and large x."""
    for size in (1e-7, 1e4):
        _finite(apply(transform, x.sign() * size))


def layout_does_not_matter(transform: Transform, x: Tensor) -> None:
    """A transposed parameter keeps shape, dtype, strides and memory, and ends as its twin does."""
    p, twin = x.clone().transpose(0, -1), x.clone().transpose(0, -1).contiguous()
    p.grad, twin.grad = (_beside(x).transpose(0, -1) for _ in range(2))
    twin.grad = twin.grad.contiguous()
    before = [_identity(t) for t in (p, p.grad)]
    for tensor in (p, twin):
        names = [k for k, s in transform.settings.items() if s.is_resource]
        link = Link(transform, {k: torch.Generator().manual_seed(0) for k in names})
        ParamTransformingOptimizer([tensor], lr=0.1, transforms=[link]).step()
    assert [_identity(t) for t in (p, p.grad)] == before, "shape, dtype, strides or memory changed"
    _close(p, twin)
    _close(p.grad, twin.grad)


def seeds_repeat(transform: Transform, x: Tensor) -> None:
    """The same seed gives the same numbers to the bit."""
    assert torch.equal(apply(transform, x, 7), apply(transform, x, 7)), "two runs differ"


def elementwise_is_elementwise(transform: Transform, x: Tensor) -> None:
    """What is declared elementwise gives the same for any `param_ndim`."""
    if transform.elementwise:
        _close(apply(transform, x, shape=(-1, 1)).view(x.shape), apply(transform, x))


def foreach_is_each(transform: Transform, x: Tensor) -> None:
    """The multi-tensor form does to each of several tensors, and its buffers, what f does."""
    if transform.foreach is None:
        return
    settings = _settings(transform)
    each, together = ([_given(transform, y) for y in (x, -x, 2 * x[:1])] for _ in range(2))
    for _ in range(2):
        for tensors in each:
            transform.fn(*tensors, **settings)
        transform.foreach(*map(list, zip(*together, strict=True)), **settings)
    for ours, theirs in zip(each, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            _close(a, b)


def goes_on_after_load(transform: Transform, x: Tensor) -> None:
    """As a link around SGD it makes three steps, and goes on from a saved state to the bit."""
    if is_random(transform):
        return
    p = x.clone().requires_grad_()
    optim = ParamTransformingOptimizer([p], lr=0.05, momentum=0.5, transforms=[transform()])
    _descend(optim, p)
    twin = p.detach().clone().requires_grad_()
    other = ParamTransformingOptimizer([twin], lr=0.05, momentum=0.5, transforms=[transform()])
    other.load_state_dict(copy.deepcopy(optim.state_dict()))
    _descend(optim, p)
    _descend(other, twin)
    _finite(p.detach())
    assert torch.equal(p, twin), "a loaded optimizer goes on otherwise"


def idempotent(transform: Transform, x: Tensor) -> None:
    """f(f(x)) = f(x)."""
    once = apply(transform, x)
    _close(apply(transform, once), once)


def scale_invariant(transform: Transform, x: Tensor) -> None:
    """f(c x) = f(x) for c > 0."""
    for factor in (0.25, 64.0):
        _close(apply(transform, factor * x), apply(transform, x))


def odd(transform: Transform, x: Tensor) -> None:
    """f(-x) = -f(x)."""
    _close(apply(transform, -x), -apply(transform, x))


def nonexpansive(transform: Transform, x: Tensor) -> None:
    """‖f(x) - f(y)‖ <= ‖x - y‖ for each item."""
    y = _beside(x)
    before = (x - y).double().flatten(1).norm(dim=1)
    after = (apply(transform, x) - apply(transform, y)).double().flatten(1).norm(dim=1)
    slack = TOLERANCE[x.dtype] * (1 + before)
    assert (after <= before + slack).all(), f"{after.tolist()} exceeds {before.tolist()}"


def writes_its_target_alone(transform: Transform, x: Tensor) -> None:
    """What it only reads stays as it was: `param` beside `grad`, or `grad` beside `param`."""
    if transform.scope == "optimizer":
        return
    given = _given(transform, x)
    before = [tensor.clone() for tensor in given]
    transform.fn(*given, **_settings(transform))
    for name, old, new in zip(transform.tensors[1:], before[1:], given[1:], strict=False):
        assert torch.equal(old, new), f"it changed `{name}`, which it may only read"


FOR_ALL: dict[str, Check] = {
    f.__name__: f
    for f in (
        seeds_repeat,
        writes_its_target_alone,
        items_are_independent,
        zeros_stay_finite,
        extremes_stay_finite,
        layout_does_not_matter,
        elementwise_is_elementwise,
        foreach_is_each,
        goes_on_after_load,
    )
}
"""What holds for every transform."""

DECLARED: dict[str, Check] = {
    f.__name__: f for f in (idempotent, scale_invariant, odd, nonexpansive)
}
"""What holds for the transforms that declare it."""


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
    _descend(bare, native)
    _descend(optim, wrapped)
    assert torch.equal(native, wrapped), "wrapped, it steps otherwise than bare"
    saved = copy.deepcopy(optim.state_dict())
    with torch.no_grad():
        copied.copy_(wrapped)
    loaded = ParamTransformingOptimizer([copied], InnerOpt, **settings)
    loaded.load_state_dict(saved)
    _descend(optim, wrapped)
    _descend(loaded, copied)
    assert torch.equal(wrapped, copied), "loaded from its state dict, it steps otherwise"


def is_random(transform: Transform) -> bool:
    """Return whether a transform's result hangs on its generator."""
    x = torch.ones(4, 8)
    return not torch.equal(apply(transform, x, 0), apply(transform, x, 1))


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


def _given(transform: Transform, x: Tensor) -> list[Tensor]:
    """Return what a transform is given for `x`: a copy, what stands beside it, its buffers."""
    beside = [_beside(x) for _ in transform.tensors[1:]]
    return [x.clone(), *beside, *(initialise(x) for initialise in transform.state.values())]


def _settings(transform: Transform, seed: int = 0) -> dict[str, Any]:
    """Return the defaults, with a seeded generator where one is taken."""
    generator = torch.Generator().manual_seed(seed)
    resources = {k: generator for k, s in transform.settings.items() if s.is_resource}
    return {**transform.complete({}), **resources}


def _changes(transform: Transform, x: Tensor) -> bool:
    """Return whether any of several calls, on ever larger tensors, with the state kept, acts."""
    written, *others = _given(transform, x)
    for _ in range(12):
        written.mul_(-1.5)
        before = written.clone()
        given = [written] if transform.scope == "optimizer" else written
        transform.fn(given, *others, **_settings(transform))
        if not torch.equal(written, before):
            return True
    return False


def _beside(x: Tensor) -> Tensor:
    """Return what stands beside `x`: of its shape, and the same for the same items."""
    return (x.abs().sqrt() - 0.5).roll(1, dims=-1).neg()


def _descend(optimizer: Optimizer, p: Tensor) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p - 1).square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)  # type: ignore[arg-type]


def _identity(x: Tensor) -> tuple[Any, ...]:
    return x.shape, x.dtype, x.stride(), x.data_ptr()


def _finite(x: Tensor) -> None:
    assert x.isfinite().all(), f"not finite: {x}"


def _close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=TOLERANCE[a.dtype], atol=TOLERANCE[a.dtype])
