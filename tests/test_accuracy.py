"""How exact the transforms are: long items, any order of a norm, settings, steps in float32."""

from fractions import Fraction
from math import ceil
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xformopt import ParamTransformingOptimizer, testing
from xformopt import transforms as T
from xformopt.testing.calls import beside_of, settings_for
from xformopt.transforms.items import item_norm

LENGTH = 10**6
WHOLE = [n for n in T.names() if not T.get(n).elementwise and T.get(n).items == "item"]
KINDS = ("normal", "constant", "one large", "far from 0")
TIED = {("orthogonal_to_param", "constant"), ("centralize", "constant")}
"""Where the exact answer is 0."""


def long_items(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, LENGTH, generator=generator)
    if kind == "constant":
        x = torch.tensor([[0.1], [0.3]]).expand(2, LENGTH).clone()
    elif kind == "one large":
        x = x * 1e-3
        x[:, 0] = 10.0
    elif kind == "far from 0":
        x += 100
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WHOLE)
def test_long_items_in_float32_are_as_in_float64(name: str, kind: str):
    """Errors are measured against the larger of what comes out and what is summed."""
    x = long_items(kind)
    exact = testing.apply(T.get(name), x.double())
    found = testing.apply(T.get(name), x).double()
    if name == "quantize":  # an entry half way between two levels may go to either
        apart = (found - exact).abs() > 1e-6 * exact.abs()
        assert apart.float().mean() < 1e-4
        return
    error = (found - exact).norm(dim=1)
    scale = exact.norm(dim=1)
    if name == "hyperball":  # what moves along the parameter is moved back
        scale = beside_of(x).double().norm(dim=1)
    if name in ("centralize", "standardize", "orthogonal_to_param"):
        scale = scale * (1 + x.double().abs().mean(1) / x.double().std(1)).clamp_max(1e9)
    if (name, kind) in TIED:
        scale = x.double().norm(dim=1)
    assert (error <= 2e-6 * scale).all(), (error / scale).tolist()


@pytest.mark.parametrize("shape", [(2, LENGTH), (2, 1000, 1000), (2, 3, 700, 500)])
@pytest.mark.parametrize("ord", [0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
def test_norms_of_long_items(ord: float, shape: tuple[int, ...]):
    for fill in (None, 0.1, 1 / 3):
        x = torch.randn(shape) if fill is None else torch.full(shape, fill)
        exact = torch.linalg.vector_norm(x.double().flatten(1), ord, 1)
        for y in (x, x.transpose(0, 1).contiguous().transpose(0, 1), x.transpose(-1, -2)):
            if y.shape[0] == 2:
                error = item_norm(y, ord).flatten().double() / exact - 1
                assert error.abs().max() < 1e-6


orders = st.one_of(
    st.floats(1e-3, 1e3), st.sampled_from([0.5, 1.0, 2.0, 1e-50, 1e12, float("inf")])
)
magnitudes = st.sampled_from([1e-30, 1e-7, 1.0, 1e4, 1e30])


def exact_norm(row: list[float], ord: float) -> Any:
    """The norm in 60 digits."""
    with mpmath.workdps(60):
        sizes = [abs(mpmath.mpf(v)) for v in row]
        if ord == float("inf"):
            return max(sizes)
        return mpmath.fsum(s ** mpmath.mpf(ord) for s in sizes if s) ** (1 / mpmath.mpf(ord))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    ord=orders, size=magnitudes, length=st.integers(1, 6), zeros=st.booleans(), seed=st.integers(0)
)
@settings(max_examples=120)
def test_clip_norm_of_any_order(
    dtype: torch.dtype, ord: float, size: float, length: int, zeros: bool, seed: int
):
    generator = torch.Generator().manual_seed(seed % 2**32)
    x = size * torch.randn(1, length, generator=generator, dtype=torch.float64)
    if zeros:
        x[:, ::2] = 0
    x = x.to(dtype)
    row, norm = x[0].tolist(), exact_norm(x[0].tolist(), ord)
    T.clip_norm.fn(x, max_norm=0.5 * size, ord=ord)
    factor = min(mpmath.mpf(1), mpmath.mpf(0.5 * size) / norm) if norm else 1
    info = torch.finfo(dtype)
    rtol = 20 * info.eps * max(1, 1 / ord)
    for found, before in zip(x[0].tolist(), row, strict=True):
        wanted = float(factor * mpmath.mpf(before))
        least = float(info.tiny) * max(1.0, abs(before))  # the factor may underflow
        assert found == pytest.approx(wanted, rel=min(rtol, 1.0), abs=least)


@pytest.mark.parametrize("ord", [0.001, 0.5, 1.0, 1e6, float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clip_norm_of_extreme_order_in_an_optimizer(ord: float, dtype: torch.dtype):
    x = torch.zeros(3, 4, dtype=dtype)
    x.grad = torch.ones_like(x)
    ParamTransformingOptimizer([x], lr=1.0, transforms=[T.clip_norm(ord=ord)]).step()
    assert x.isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 10, 20, 25, 50, 100, 101, 1000, 12800])
def test_the_quantile_is_that_of_the_decimal_fraction(length: int):
    """⌈q d⌉ of q = k/100 as written, not of the float that is nearest to it."""
    entries = torch.arange(1.0, length + 1)[None]
    for k in range(101):
        x = entries.clone()
        T.clip_quantile.fn(x, q=k / 100)
        assert x.max() == max(1, ceil(Fraction(k, 100) * length)), k


@pytest.mark.parametrize("length", [1, 5, 10, 20, 100, 1000])
def test_top_q_keeps_a_nearest_number(length: int):
    for k in range(101):
        x = torch.arange(1.0, length + 1)[None].clone()
        T.top_q.fn(x, q=k / 100)
        assert abs(x.count_nonzero().item() - (1 - Fraction(k, 100)) * length) <= Fraction(1, 2)


def test_a_box_in_float64_has_its_corners_in_float64():
    x = torch.tensor([1.0, -1.0], dtype=torch.float64)
    x.grad = x.clone()
    ParamTransformingOptimizer(
        [x], lr=1.0, transforms=[T.box_steepest(min=-0.1, max=0.3)], param_ndim=1
    ).step()
    assert x.tolist() == [1.0 - 0.1, -1.0 + 0.3]


def test_nan_in_one_item_leaves_the_others_clipped():
    for ord in (1, 2, 3, float("inf")):
        grad = torch.tensor([[float("nan"), 1.0], [5.0, 0.0]])
        T.clip_norm.fn(grad, max_norm=1.0, ord=ord)
        assert grad[1].tolist() == [1.0, 0.0]


def test_clip_total_norm_of_long_and_large_gradients():
    for fill in (0.1, 1e30):
        grads = [torch.full((1000, 1000), fill), torch.full((7,), fill)]
        exact = torch.cat([g.flatten() for g in grads]).double()
        T.clip_total_norm.fn(grads, max_norm=2.0)
        found = torch.cat([g.flatten() for g in grads]).double()
        torch.testing.assert_close(found, exact * (2 / exact.norm()), rtol=1e-6, atol=0)


@pytest.mark.parametrize("bits", [1, 2, 24, 64, 2000])
def test_quantize_with_any_number_of_bits(bits: int):
    x = torch.tensor([[0.3, -1.0, 0.7]])
    y = x.clone()
    T.quantize.fn(y, bits=bits)
    assert (y - x).abs().max() <= 1 / 2 ** (bits - 1) + 1e-7


@given(total=st.sampled_from([0.1, 1.0]), offset=st.sampled_from([0.0, -0.5, 3.0]))
@settings(max_examples=6)
def test_the_simplex_keeps_its_sum_in_high_dimensions(total: float, offset: float):
    x = torch.full((1, 10**5), offset)
    x[0, 0] = 0.0
    T.simplex.fn(x, total=total)
    assert x.double().sum().item() == pytest.approx(total, rel=2e-2)


STATEFUL = [
    n for n in T.names() if T.get(n).state and not testing.is_random(T.get(n)) and n != "soap"
]
"""All but one whose bases are as far apart as gaps between eigenvalues are small."""


@pytest.mark.parametrize("form", ["fn", "foreach"])
@pytest.mark.parametrize("size", [1e-7, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("name", STATEFUL)
def test_states_in_float32_follow_those_in_float64(name: str, size: float, form: str):
    """Twenty steps with the defaults, eps = 1e-8 among them, on gradients of any usual size."""
    transform = T.get(name)
    call: Any = getattr(transform, form)
    if call is None:
        return
    generator = torch.Generator().manual_seed(0)
    xs = [size * torch.randn(3, 5, generator=generator) for _ in range(20)]
    seen: dict[torch.dtype, list[Tensor]] = {}
    for dtype in (torch.float32, torch.float64):
        buffers = transform.fresh(xs[0].to(dtype))
        seen[dtype] = []
        for x in xs:
            y = x.to(dtype, copy=True)
            tensors = [y, *(beside_of(y) for _ in transform.tensors[1:]), *buffers]
            given = tensors if form == "fn" else [[tensor] for tensor in tensors]
            call(*given, **settings_for(transform))
            seen[dtype] += [y.clone(), *(b.clone() for b in buffers)]
    for found, exact in zip(seen[torch.float32], seen[torch.float64], strict=True):
        scale = float(exact.abs().max())
        assert float((found.double() - exact.double()).abs().max()) <= 2e-6 * scale
