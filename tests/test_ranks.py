"""Order within rows, against torch's sorting, whichever library sorts."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import xformopt.transforms as T
from xformopt.transforms import ranks
from xformopt.transforms.ranks import among_largest, kth_largest, sort_rows

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


@pytest.fixture(params=["numpy", "torch"], scope="module", autouse=True)
def sorter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sort with NumPy, then without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "HAS_NUMPY", request.param == "numpy")
        yield


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@given(length=LENGTHS, share=st.floats(0, 1), seed=st.integers(0, 9))
def test_the_largest_are_kept(
    kind: str, dtype: torch.dtype, length: int, share: float, seed: int
) -> None:
    x, kept = rows(kind, length, dtype, seed), round(share * length)
    left = (x * among_largest(x, kept)).abs()
    expected = x.abs().topk(kept).values
    assert torch.equal(left.topk(kept).values, expected)
    assert torch.equal(left.count_nonzero(1), expected.count_nonzero(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
@given(length=LENGTHS, share=st.floats(0, 1), seed=st.integers(0, 9))
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


def test_a_large_row_keeps_what_is_not_a_number() -> None:
    x = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    x[0, 7] = float("nan")
    T.top_q.fn(x, q=0.9)
    assert x[0].isnan().nonzero().flatten().tolist() == [7]
    assert x.count_nonzero(1).tolist() == [100, 100]


@given(seed=st.integers(0, 99))
def test_a_matrix_may_lie_in_any_order(seed: int) -> None:
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(seed)).T
    before = x.clone()
    assert torch.equal(sort_rows(x), x.sort(1).values)
    assert torch.equal(among_largest(x, 30), among_largest(x.contiguous(), 30))
    assert torch.equal(x, before)
