"""Order within rows, against torch's sorting, whichever library sorts."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode

import xformopt.transforms as T
from xformopt.transforms import ranks, selection
from xformopt.transforms.ranks import keep_largest, kth_largest, sort_rows

LENGTHS = st.sampled_from([1, 2, 27, 255, 256, 257, 1000, 4097])
KINDS = ("normal", "ties", "zeros", "bands", "one block")


def rows(kind: str, length: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Six rows: of numbers at random, of few values, mostly zero, in bands, large in one place."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, length, generator=generator)
    if kind == "ties":
        x = x.round()
    elif kind == "zeros":
        x = x * (torch.rand(6, length, generator=generator) < 0.02)
    elif kind == "bands":
        x = x * torch.linspace(0, 4, length).exp()
    elif kind == "one block":
        x[:, : min(200, length)] += 100
    return x.to(dtype)


@pytest.fixture(params=["numpy", "short blocks", "torch"], scope="module", autouse=True)
def sorter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sort with NumPy, also in blocks that seldom hold their share, then without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "HAS_NUMPY", request.param != "torch")
        if request.param == "short blocks":
            patch.setattr(selection, "BLOCK", 7)
            patch.setattr(selection, "SPREAD", 0.1)
        yield


def kept_of(x: Tensor, kept: int) -> Tensor:
    x = x.clone()
    keep_largest(x, kept)
    return x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@given(length=LENGTHS, share=st.floats(0, 1), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_the_largest_are_kept(
    kind: str, dtype: torch.dtype, length: int, share: float, seed: int
) -> None:
    x, kept = rows(kind, length, dtype, seed), round(share * length)
    left = kept_of(x, kept).abs()
    expected = x.abs().topk(kept).values
    assert torch.equal(left.topk(kept).values, expected)
    assert torch.equal(left.count_nonzero(1), expected.count_nonzero(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
@given(length=LENGTHS, share=st.floats(0, 1), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_ranks_are_those_of_a_sort(
    kind: str, dtype: torch.dtype, length: int, share: float, seed: int
) -> None:
    x = rows(kind, length, dtype, seed)
    assert torch.equal(sort_rows(x), x.sort(1).values)
    k = max(1, round(share * length))
    assert torch.equal(kth_largest(x.abs(), k), x.abs().sort(1).values[:, -k, None])


def test_of_equals_as_many_stay_and_by_numpy_the_first() -> None:
    x = torch.full((2, 600), -3.0)
    x[1, 300] = 5.0
    T.top_q.fn(x, q=0.5)
    assert x.count_nonzero(1).tolist() == [300, 300]
    assert x[1, 300] == 5.0
    if ranks.HAS_NUMPY:
        assert x[0, :300].all()
        assert x[1, :299].all()


@given(length=LENGTHS, share=st.floats(0, 1), nans=st.integers(1, 400), seed=st.integers(0, 9))
def test_what_is_not_a_number_is_largest(length: int, share: float, nans: int, seed: int) -> None:
    x, k = rows("normal", length, torch.float32, seed), max(1, round(share * length))
    x[::2, length // 3 :][:, :nans] = float("nan")
    expected = x.abs().sort(1).values[:, -k, None]
    assert torch.equal(kth_largest(x.abs(), k).nan_to_num(-1), expected.nan_to_num(-1))
    left = kept_of(x, k)
    assert torch.equal(left[1::2], kept_of(x[1::2], k))
    fits = x.isnan().sum(1) <= k
    assert torch.equal(left[fits].isnan(), x[fits].isnan())
    assert (left[fits].count_nonzero(1) == k).all()


@pytest.mark.parametrize("shape", [(1, 4), (2, 600)])
def test_dropped_entries_are_zero(shape: tuple[int, ...]) -> None:
    for large in (2.0, float("inf")):
        x = torch.full(shape, -large)
        keep_largest(x, 3)
        assert x.count_nonzero(1).tolist() == [3] * len(x)
        assert not x[x == 0].signbit().any()


def test_no_rows() -> None:
    for link in (T.top_q, T.clip_quantile, T.topq_steepest, T.simplex):
        link.fn(torch.empty(0, 5))


@given(seed=st.integers(0, 99))
def test_a_matrix_may_lie_in_any_order(seed: int) -> None:
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(seed)).T
    before = x.clone()
    assert torch.equal(sort_rows(x), x.sort(1).values)
    assert torch.equal(kept_of(x, 30), kept_of(x.contiguous(), 30))
    assert torch.equal(x, before)


@pytest.mark.parametrize("link", [T.top_q, T.clip_quantile, T.topq_steepest, T.simplex, T.l1_ball])
def test_tensors_without_values(link: Any) -> None:
    with FakeTensorMode():
        x = torch.randn(4, 300)
        link.fn(x)
    assert x.shape == (4, 300)
