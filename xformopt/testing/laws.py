"""What holds for every transform."""

import copy
from typing import Any

import torch
from torch import Tensor

from xformopt.optim import ParamTransformingOptimizer
from xformopt.testing.calls import (
    Check,
    apply,
    beside_of,
    check_close,
    check_finite,
    descend,
    given_for,
    is_random,
    link_for,
    settings_for,
    written_by,
)
from xformopt.transforms import Transform


def items_are_independent(transform: Transform, x: Tensor) -> None:
    """f(x)[i] = f(x[i:i+1]): an item's result hangs on that item alone."""
    if transform.scope == "optimizer" or is_random(transform):
        return
    whole = apply(transform, x)
    for i in range(len(x)):
        check_close(whole[i : i + 1], apply(transform, x[i : i + 1]))


def zeros_stay_finite(transform: Transform, x: Tensor) -> None:
    """f(0) is finite."""
    check_finite(apply(transform, torch.zeros_like(x)))


def no_update_stays_none(transform: Transform, x: Tensor) -> None:
    """f(0) = 0 where an update is written: what the step leaves in its place stays there."""
    if transform.target == "update":
        kept = apply(transform, torch.zeros_like(x))
        assert not kept.any(), f"an update of 0 became {kept}"


def extremes_stay_finite(transform: Transform, x: Tensor) -> None:
    """f(x) is finite for small and large x."""
    for size in (1e-7, 1e4):
        check_finite(apply(transform, x.sign() * size))


def layout_does_not_matter(transform: Transform, x: Tensor) -> None:
    """A transposed parameter keeps shape, dtype, strides and memory, and ends as its twin does."""
    p, twin = x.clone().transpose(0, -1), x.clone().transpose(0, -1).contiguous()
    p.grad, twin.grad = (beside_of(x).transpose(0, -1) for _ in range(2))
    twin.grad = twin.grad.contiguous()
    before = [_identity(t) for t in (p, p.grad)]
    for tensor in (p, twin):
        ParamTransformingOptimizer([tensor], lr=0.1, transforms=[link_for(transform)]).step()
    assert [_identity(t) for t in (p, p.grad)] == before, "shape, dtype, strides or memory changed"
    check_close(p, twin)
    check_close(p.grad, twin.grad)


def seeds_repeat(transform: Transform, x: Tensor) -> None:
    """The same seed gives the same numbers to the bit."""
    assert torch.equal(apply(transform, x, 7), apply(transform, x, 7)), "two runs differ"


def elementwise_is_elementwise(transform: Transform, x: Tensor) -> None:
    """What is declared to take each entry gives the same for any `param_ndim`."""
    if transform.items == "entry":
        check_close(apply(transform, x, shape=(-1, 1)).view(x.shape), apply(transform, x))


def foreach_is_each(transform: Transform, x: Tensor) -> None:
    """The multi-tensor form does to each of several tensors, and its buffers, what f does."""
    if transform.foreach is None:
        return
    settings = settings_for(transform)
    each, together = ([given_for(transform, y) for y in (x, -x, 2 * x[:1])] for _ in range(2))
    for _ in range(2):
        for tensors in each:
            transform.fn(*tensors, **settings)
        transform.foreach(*map(list, zip(*together, strict=True)), **settings)
    for ours, theirs in zip(each, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            check_close(a, b)


def no_items_are_no_error(transform: Transform, x: Tensor) -> None:
    """f of no items is no items; items of no entries are never given."""
    assert apply(transform, x[:0]).shape == x[:0].shape


def shape_matters_for_matrices_alone(transform: Transform, x: Tensor) -> None:
    """An item is so many entries; where `items="matrix"`, it is a matrix, or one column."""
    if transform.scope == "optimizer":
        return
    shape: tuple[int, ...] = (len(x), -1)
    if transform.items == "matrix":
        shape = (len(x), x.shape[1], -1)
    check_close(apply(transform, x, shape=shape).reshape(x.shape), apply(transform, x))


def default_dtype_does_not_matter(transform: Transform, x: Tensor) -> None:
    """Under `torch.set_default_dtype(torch.float64)` the result is the same to the bit."""
    before, usual = apply(transform, x), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if usual == torch.float64 else torch.float64)
    try:
        assert torch.equal(apply(transform, x), before), "the default dtype changes the result"
    finally:
        torch.set_default_dtype(usual)


def float32_agrees_with_float64(transform: Transform, x: Tensor) -> None:
    """f in float32 is f in float64, up to the rounding of float32."""
    x = x.float()
    result, exact = apply(transform, x), apply(transform, x.double())
    check_close(result, exact.float())


def settings_are_not_rounded(transform: Transform, x: Tensor) -> None:
    """In float64 a setting acts with all of its digits: changed by 1e-9 of itself, it is felt."""
    x = x.double()
    before = apply(transform, x)
    for name, value in transform.complete({}).items():
        if not isinstance(value, float) or not 0 < abs(value) < float("inf"):
            continue

        def felt(share: float, name: str = name, value: float = value) -> float:
            changed = [{name: value * (1 + change)} for change in (share, -share)]
            after = [apply(transform, x, settings=settings) for settings in changed]
            return min(float((y - before).abs().max()) for y in after)

        expected = 1e-4 * felt(1e-5)
        if expected > 1e3 * torch.finfo(x.dtype).eps * (1 + float(before.abs().max())):
            assert felt(1e-9) > expected / 2, f"`{name}` is rounded, to float32 it seems"


def nan_is_not_hidden(transform: Transform, x: Tensor) -> None:
    """NaN stays in its item, or is a `ValueError`; infinity is no other error."""
    clean = written_by(transform, given_for(transform, x))
    for bad in (float("nan"), float("inf")):
        given = given_for(transform, x)
        given[0][(0,) * x.ndim] = bad
        try:
            result = written_by(transform, given)
        except ValueError as error:
            if "needs finite entries" not in str(error):
                raise
            continue
        if bad != bad and "nan_is_zero" not in transform.laws:
            assert result[0].isnan().any(), "NaN is gone"
        if transform.scope == "item" and not is_random(transform):
            check_close(result[1:], clean[1:])


def goes_on_after_load(transform: Transform, x: Tensor) -> None:
    """As a link around SGD it makes three steps, and goes on from a saved state to the bit."""
    if is_random(transform):
        return
    p = x.clone().requires_grad_()
    optim = ParamTransformingOptimizer([p], lr=0.05, momentum=0.5, transforms=[transform()])
    descend(optim, p)
    twin = p.detach().clone().requires_grad_()
    other = ParamTransformingOptimizer([twin], lr=0.05, momentum=0.5, transforms=[transform()])
    other.load_state_dict(copy.deepcopy(optim.state_dict()))
    descend(optim, p)
    descend(other, twin)
    check_finite(p.detach())
    assert torch.equal(p, twin), "a loaded optimizer goes on otherwise"


def writes_its_target_alone(transform: Transform, x: Tensor) -> None:
    """What it only reads stays as it was: `param` beside `grad`, or `grad` beside `param`."""
    if transform.scope == "optimizer":
        return
    given = given_for(transform, x)
    before = [tensor.clone() for tensor in given]
    transform.fn(*given, **settings_for(transform))
    for name, old, new in zip(transform.tensors[1:], before[1:], given[1:], strict=False):
        assert torch.equal(old, new), f"it changed `{name}`, which it may only read"


def _identity(x: Tensor) -> tuple[Any, ...]:
    return x.shape, x.dtype, x.stride(), x.data_ptr()


FOR_ALL: dict[str, Check] = {
    f.__name__: f
    for f in (
        seeds_repeat,
        writes_its_target_alone,
        items_are_independent,
        zeros_stay_finite,
        no_update_stays_none,
        extremes_stay_finite,
        no_items_are_no_error,
        default_dtype_does_not_matter,
        float32_agrees_with_float64,
        settings_are_not_rounded,
        nan_is_not_hidden,
        layout_does_not_matter,
        elementwise_is_elementwise,
        shape_matters_for_matrices_alone,
        foreach_is_each,
        goes_on_after_load,
    )
}
"""What holds for every transform."""
