"""Each transform against an oracle that we did not write, or its definition in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer

seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(1, 4), st.integers(1, 6))


def items(size: tuple[int, int], seed: int, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, generator=generator, dtype=torch.float64)


def project_by_scipy(x: np.ndarray, total: float) -> np.ndarray:
    """Return argmin ½‖y - x‖² over the simplex by sequential quadratic programming."""
    found = minimize(
        lambda y: 0.5 * ((y - x) ** 2).sum(),
        np.full(len(x), total / len(x)),
        jac=lambda y: y - x,
        bounds=[(0, None)] * len(x),
        constraints={"type": "eq", "fun": lambda y: y.sum() - total, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.x


@given(size=sizes, seed=seeds, total=st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=40)
def test_simplex_against_scipy(size: tuple[int, int], seed: int, total: float):
    x = items(size, seed)
    y = x.clone()
    T.simplex.fn(y, total=total)
    for row, projected in zip(x.numpy(), y.numpy(), strict=True):
        np.testing.assert_allclose(projected, project_by_scipy(row, total), atol=1e-6)


@given(size=sizes, seed=seeds, radius=st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=40)
def test_l1_ball_against_scipy(size: tuple[int, int], seed: int, radius: float):
    """By symmetry the projection of x has x's signs and |x|'s projection onto the simplex."""
    x = items(size, seed)
    y = x.clone()
    T.l1_ball.fn(y, radius=radius)
    for row, projected in zip(x.numpy(), y.numpy(), strict=True):
        inside = np.abs(row).sum() <= radius
        expected = row if inside else np.sign(row) * project_by_scipy(np.abs(row), radius)
        np.testing.assert_allclose(projected, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 1e3, 3e4])
def test_simplex_keeps_its_sum_far_from_the_origin(offset: float, dtype: torch.dtype):
    x = (torch.tensor([[0.0, 1.0, 2.0, 3.0]]) + offset).to(dtype)
    T.simplex.fn(x, total=1.0)
    assert x.sum().item() == pytest.approx(1.0, rel=1e-2)
    assert (x >= 0).all()


@given(size=sizes, seed=seeds, radius=st.sampled_from([0.0, 0.5, 4.0]))
@settings(max_examples=40)
def test_balls_project_into_themselves(size: tuple[int, int], seed: int, radius: float):
    for transform, order in ((T.l1_ball, 1), (T.l2_ball, 2), (T.linf_ball, np.inf)):
        x = items(size, seed)
        y = x.clone()
        transform.fn(y, radius=radius)
        norms = np.linalg.norm(y.numpy(), order, axis=1)
        assert (norms <= radius * (1 + 1e-9) + 1e-12).all()
        inside = np.linalg.norm(x.numpy(), order, axis=1) <= radius
        assert torch.equal(x[torch.from_numpy(inside)], y[torch.from_numpy(inside)])


@pytest.mark.parametrize(("name", "order"), [("l1_norm", 1), ("l2_norm", 2), ("linf_norm", np.inf)])
@given(size=sizes, seed=seeds)
@settings(max_examples=40)
def test_norms_become_one(name: str, order: float, size: tuple[int, int], seed: int):
    x = items(size, seed)
    expected = x.numpy() / np.linalg.norm(x.numpy(), order, axis=1, keepdims=True)
    T.get(name).fn(x)
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-12)


@given(size=sizes, seed=seeds, order=st.sampled_from([1.0, 2.0, 3.0, float("inf")]))
@settings(max_examples=40)
def test_clip_norm_as_torch_does(size: tuple[int, int], seed: int, order: float):
    """torch clips one norm over a list of tensors: an item each time gives ours."""
    x = items(size, seed)
    theirs = x.clone()
    for row in theirs:
        p = torch.zeros_like(row)
        p.grad = row
        torch.nn.utils.clip_grad_norm_([p], 2.0, norm_type=order)
    T.clip_norm.fn(x, max_norm=2.0, ord=order)
    torch.testing.assert_close(x, theirs, rtol=1e-5, atol=1e-6)  # torch adds 1e-6 to the norm


@given(size=sizes, seed=seeds, q=st.floats(0, 1))
@settings(max_examples=60)
def test_top_q_keeps_the_largest(size: tuple[int, int], seed: int, q: float):
    x = items(size, seed)
    kept = round((1 - q) * size[1])
    expected = np.zeros(size)
    for row, out in zip(x.numpy(), expected, strict=True):
        largest = np.argsort(-np.abs(row))[:kept]
        out[largest] = row[largest]
    T.top_q.fn(x, q=q)
    np.testing.assert_array_equal(x.numpy(), expected)


def test_top_q_draws_q_within_dq_and_the_unit_interval():
    kept = []
    for seed in range(200):
        x = torch.ones(1, 100)
        T.top_q.fn(x, q=0.9, dq=0.3, generator=torch.Generator().manual_seed(seed))
        kept.append(int(x.sum()))
    assert min(kept) in range(3)
    assert 37 <= max(kept) <= 40


@given(size=sizes, seed=seeds)
@settings(max_examples=40)
def test_steepest_directions_reach_the_dual_norm(size: tuple[int, int], seed: int):
    """Over the unit ball of a norm, the largest inner product with g is g's dual norm."""
    g = items(size, seed)
    for transform, dual in ((T.sign, 1), (T.l2_norm, 2), (T.l1_steepest, np.inf)):
        direction = g.clone()
        transform.fn(direction)
        reached = (direction * g).sum(1)
        np.testing.assert_allclose(reached, np.linalg.norm(g.numpy(), dual, axis=1), rtol=1e-9)


def test_boxes():
    x = torch.tensor([[-3.0, -0.5, 0.5, 3.0]])
    for transform in (T.clamp, T.box):
        y = x.clone()
        transform.fn(y, min=-1.0, max=None)
        assert y.tolist() == [[-1, -0.5, 0.5, 3]]
    y = x.clone()
    T.nonnegative.fn(y)
    assert y.tolist() == [[0, 0, 0.5, 3]]


@given(size=sizes, seed=seeds)
@settings(max_examples=40)
def test_moments_against_numpy(size: tuple[int, int], seed: int):
    x = items(size, seed).numpy()
    mean, std = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    root = np.sqrt((x**2).mean(1, keepdims=True))
    for transform, expected in (
        (T.centralize, x - mean),
        (T.standardize, (x - mean) / (std + 1e-12)),
        (T.rms_norm, x / root),
    ):
        y = torch.from_numpy(x.copy())
        transform.fn(y)
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@given(size=sizes, seed=seeds, q=st.floats(0, 1))
@settings(max_examples=40)
def test_clip_quantile_against_numpy(size: tuple[int, int], seed: int, q: float):
    x = items(size, seed).numpy()
    bound = np.quantile(np.abs(x), q, axis=1, keepdims=True, method="inverted_cdf")
    y = torch.from_numpy(x.copy())
    T.clip_quantile.fn(y, q=q)
    np.testing.assert_array_equal(y, np.clip(x, -bound, bound))


@given(size=sizes, seed=seeds)
@settings(max_examples=20)
def test_clip_total_norm_as_torch_does(size: tuple[int, int], seed: int):
    ours = [items(size, seed), items((2, 3), seed + 1)]
    theirs = [torch.zeros_like(g) for g in ours]
    for p, g in zip(theirs, ours, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    T.clip_total_norm.fn(ours, max_norm=1.0)
    for p, g in zip(theirs, ours, strict=True):
        torch.testing.assert_close(g, p.grad, rtol=1e-5, atol=1e-6)  # torch adds 1e-6


def test_clip_total_norm_spans_all_groups_of_the_optimizer():
    x, y = torch.zeros(1), torch.zeros(1)
    x.grad, y.grad = torch.tensor([3.0]), torch.tensor([4.0])
    groups = [{"params": [x]}, {"params": [y]}]
    ParamTransformingOptimizer(groups, lr=1.0, transforms=[T.clip_total_norm()]).step()
    torch.testing.assert_close(torch.cat([x, y]), torch.tensor([-0.6, -0.8]))


@given(size=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)), seed=seeds)
@settings(max_examples=20)
def test_max_norm_as_torch_renorm_does(size: tuple[int, int, int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(size, generator=generator, dtype=torch.float64)
    expected = x.flatten(0, 1).renorm(2, 0, 1.0).view(size)
    T.max_norm.fn(x, radius=1.0)
    torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-6)


@given(size=sizes, seed=seeds, bits=st.integers(2, 8))
@settings(max_examples=40)
def test_quantize_rounds_to_the_nearest_level(size: tuple[int, int], seed: int, bits: int):
    x = items(size, seed)
    y = x.clone()
    T.quantize.fn(y, bits=bits)
    spacing = x.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    levels = y / spacing
    torch.testing.assert_close(levels, levels.round())
    assert ((y - x).abs() <= spacing / 2 * (1 + 1e-9)).all()


def test_random_sparse_is_unbiased():
    x = torch.ones(1, 100_000)
    T.random_sparse.fn(x, q=0.8, generator=torch.Generator().manual_seed(0))
    assert x.mean().item() == pytest.approx(1.0, abs=0.03)
    assert (x == 0).float().mean().item() == pytest.approx(0.8, abs=0.01)


def test_gradient_noise_has_a_falling_variance():
    step = torch.tensor(0.0)
    generator = torch.Generator().manual_seed(0)
    for t in range(3):
        x = torch.zeros(1, 100_000)
        T.gradient_noise.fn(x, step, variance=0.5, decay=0.55, generator=generator)
        assert x.var().item() == pytest.approx(0.5 / (1 + t) ** 0.55, rel=0.03)
        assert x.mean().item() == pytest.approx(0, abs=0.01)


def test_param_ema_is_the_weighted_mean_of_all_so_far():
    x = torch.zeros(2)
    optim = ParamTransformingOptimizer([x], transforms=[T.param_ema(decay=0.5)])
    for value in (1.0, 2.0, 4.0):
        x.fill_(value)
        x.grad = torch.zeros(2)
        optim.step()
    mean = (0.25 * 1 + 0.5 * 2 + 1 * 4) / 1.75
    torch.testing.assert_close(optim.state[x]["param_ema"]["average"], torch.full((2,), mean))
    assert x.tolist() == [4, 4]


def test_soft_clip_is_smooth_clipping():
    x = torch.tensor([[-1e3, -0.01, 0.0, 0.01, 1e3]])
    T.soft_clip.fn(x, max=2.0)
    torch.testing.assert_close(x, torch.tensor([[-2.0, -0.01, 0.0, 0.01, 2.0]]), atol=1e-6, rtol=0)
