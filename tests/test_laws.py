"""Laws over the whole registry: what holds for every transform, and what each declares."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import TOLERANCE
from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer

DTYPES = sorted(TOLERANCE, key=str)
shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)
seeds = st.integers(0, 2**16)
dtypes = st.sampled_from(DTYPES)


def declaring(law: str) -> list[str]:
    return [name for name in T.names() if law in T.get(name).laws]


def tensor(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def apply(name: str, x: Tensor, seed: int = 0) -> Tensor:
    """Apply a transform with its defaults to a copy of `x`; what it reads beside is seeded."""
    transform = T.get(name)
    generator = torch.Generator().manual_seed(seed)
    rest = len(transform.tensors) - 1
    read = [_beside(x) for _ in range(rest)]
    state = [initialise(x) for initialise in transform.state.values()]
    settings = transform.complete({})
    resources = {k: generator for k, s in transform.settings.items() if s.is_resource}
    y = x.clone()
    written = [y] if transform.scope == "optimizer" else y
    transform.fn(written, *read, *state, **{**settings, **resources})
    return y


def _beside(x: Tensor) -> Tensor:
    """Return what a transform reads beside `x`: of its shape, and the same for the same items."""
    return (x.abs().sqrt() - 0.5).roll(1, dims=-1).neg()


def is_random(name: str) -> bool:
    x = torch.ones(4, 8)
    return not torch.equal(apply(name, x, 0), apply(name, x, 1))


def close(a: Tensor, b: Tensor, scale: float = 1.0) -> None:
    tolerance = scale * TOLERANCE[a.dtype]
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


class TestForAll:
    @pytest.mark.parametrize("name", T.names())
    @given(shape=shapes, seed=seeds, dtype=dtypes)
    @settings(max_examples=30)
    def test_items_are_independent(
        self, name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype
    ):
        if is_random(name) or T.get(name).scope == "optimizer":
            return
        x = tensor(shape, seed, dtype)
        whole = apply(name, x)
        for i in range(shape[0]):
            close(whole[i : i + 1], apply(name, x[i : i + 1]))

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("name", T.names())
    def test_zeros_stay_finite(self, name: str, dtype: torch.dtype):
        assert apply(name, torch.zeros(3, 4, dtype=dtype)).isfinite().all()

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("size", [1e-7, 1e4])
    @pytest.mark.parametrize("name", T.names())
    def test_extremes_stay_finite(self, name: str, size: float, dtype: torch.dtype):
        assert apply(name, torch.full((3, 40), size, dtype=dtype)).isfinite().all()

    @pytest.mark.parametrize("name", T.names())
    @given(shape=shapes, seed=seeds, dtype=dtypes)
    @settings(max_examples=20)
    def test_keeps_shape_dtype_strides_and_memory_of_non_contiguous_tensors(
        self, name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype
    ):
        x = tensor(shape, seed, dtype).transpose(0, -1)
        x.grad = tensor(shape, seed + 1, dtype).transpose(0, -1)
        twin = x.clone(memory_format=torch.contiguous_format)
        twin.grad = x.grad.clone(memory_format=torch.contiguous_format)
        before = [(t.shape, t.dtype, t.stride(), t.data_ptr()) for t in (x, x.grad)]
        for p in (x, twin):
            seeded: Any = {
                k: torch.Generator().manual_seed(0)
                for k, s in T.get(name).settings.items()
                if s.is_resource
            }
            link = T.get(name)(**seeded)
            ParamTransformingOptimizer([p], lr=0.1, param_ndim=-1, transforms=[link]).step()
        assert [(t.shape, t.dtype, t.stride(), t.data_ptr()) for t in (x, x.grad)] == before
        close(x, twin)
        close(x.grad, twin.grad)

    @pytest.mark.parametrize("name", T.names())
    @given(seed=seeds)
    @settings(max_examples=5)
    def test_a_seeded_generator_repeats(self, name: str, seed: int):
        x = tensor((3, 8), seed, torch.float32)
        assert torch.equal(apply(name, x, seed), apply(name, x, seed))

    @pytest.mark.parametrize("name", T.names())
    @given(seed=seeds)
    @settings(max_examples=5)
    def test_elementwise_means_any_param_ndim(self, name: str, seed: int):
        if not T.get(name).elementwise:
            return
        x = tensor((3, 8), seed, torch.float32)
        assert torch.equal(apply(name, x), apply(name, x.view(-1, 1)).view(3, 8))

    @pytest.mark.parametrize("name", T.names())
    def test_runs_as_a_link_around_adam(self, name: str):
        x = torch.rand(3, 4).requires_grad_()
        link = T.get(name)()
        optim = ParamTransformingOptimizer([x], torch.optim.Adam, transforms=[link])
        for _ in range(3):
            optim.zero_grad()
            (x**2).sum().backward()
            optim.step()
        assert x.isfinite().all()


class TestDeclared:
    @pytest.mark.parametrize("name", declaring("idempotent"))
    @given(shape=shapes, seed=seeds, dtype=dtypes)
    @settings(max_examples=30)
    def test_idempotent(self, name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype):
        once = apply(name, 3 * tensor(shape, seed, dtype))
        close(apply(name, once), once)

    @pytest.mark.parametrize("name", declaring("scale_invariant"))
    @given(shape=shapes, seed=seeds, dtype=dtypes, factor=st.sampled_from([0.25, 2.0, 64.0]))
    @settings(max_examples=30)
    def test_scale_invariant(
        self, name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype, factor: float
    ):
        x = tensor(shape, seed, dtype)
        close(apply(name, factor * x), apply(name, x))

    @pytest.mark.parametrize("name", declaring("odd"))
    @given(shape=shapes, seed=seeds, dtype=dtypes)
    @settings(max_examples=30)
    def test_odd(self, name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype):
        x = 3 * tensor(shape, seed, dtype)
        close(apply(name, -x), -apply(name, x))

    @pytest.mark.parametrize("name", declaring("nonexpansive"))
    @given(shape=shapes, seed=seeds)
    @settings(max_examples=50)
    def test_nonexpansive(self, name: str, shape: tuple[int, ...], seed: int):
        x, y = (3 * tensor(shape, seed + i, torch.float64) for i in (0, 1))
        before = (x - y).flatten(1).norm(dim=1)
        after = (apply(name, x) - apply(name, y)).flatten(1).norm(dim=1)
        assert (after <= before * (1 + 1e-9) + 1e-12).all()

    def test_every_declared_law_is_tested(self):
        declared = {law for name in T.names() for law in T.get(name).laws}
        tested = {m.removeprefix("test_") for m in dir(TestDeclared) if m.startswith("test_")}
        assert declared <= tested

    def test_an_unknown_law_is_refused(self):
        with pytest.raises(ValueError, match=r"`laws` of `wrong` must be among .*'idempotent'"):

            @T.transform(laws=("perfect",))  # type: ignore[arg-type]
            def wrong(grad: Any) -> None: ...
