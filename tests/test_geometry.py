"""The balls: oracles against brute force, projections against solvers, Frank-Wolfe on problems."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from tests.test_transforms import items, seeds
from xformopt import recipes
from xformopt import transforms as T
from xformopt.geometry import BALLS
from xformopt.optim import ParamTransformingOptimizer
from xformopt.optim.frank_wolfe import FrankWolfe, duality_gap

matrices = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))


def batch(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@given(shape=matrices, seed=seeds, radius=st.sampled_from([0.5, 2.0]))
@settings(max_examples=40)
def test_matrix_balls_project_the_singular_values(shape: tuple[int, ...], seed: int, radius: float):
    """von Neumann: the projection keeps the singular vectors and projects the values."""
    for transform, project in ((T.spectral_ball, T.linf_ball), (T.nuclear_ball, T.l1_ball)):
        x = batch(shape, seed)
        y = x.clone()
        transform.fn(y, radius=radius)
        for before, after in zip(x.numpy(), y.numpy(), strict=True):
            u, s, v = np.linalg.svd(before, full_matrices=False)
            values = torch.from_numpy(s)[None]
            project.fn(values, radius=radius)
            np.testing.assert_allclose(after, (u * values.numpy()[0]) @ v, atol=1e-9)


@given(shape=matrices, seed=seeds)
@settings(max_examples=40)
def test_stiefel_and_low_rank(shape: tuple[int, ...], seed: int):
    x = batch(shape, seed)
    y, z = x.clone(), x.clone()
    T.stiefel.fn(y)
    T.low_rank.fn(z, rank=2)
    fewer = min(shape[1:])
    small = y @ y.mT if shape[1] <= shape[2] else y.mT @ y
    torch.testing.assert_close(small, torch.eye(fewer).double().expand_as(small))
    for before, polar, low in zip(x.numpy(), y.numpy(), z.numpy(), strict=True):
        u, s, v = np.linalg.svd(before, full_matrices=False)
        np.testing.assert_allclose(polar, u @ v, atol=1e-9)
        np.testing.assert_allclose(low, (u[:, :2] * s[:2]) @ v[:2], atol=1e-9)


@given(shape=matrices, seed=seeds)
@settings(max_examples=40)
def test_spectral_directions_reach_the_dual_norm(shape: tuple[int, ...], seed: int):
    g = batch(shape, seed)
    values = np.linalg.svd(g.numpy(), compute_uv=False)
    duals = {T.spectral_steepest: values.sum(1), T.nuclear_steepest: values[:, 0]}
    for transform, dual in duals.items():
        direction = g.clone()
        transform.fn(direction)
        np.testing.assert_allclose((direction * g).sum((1, 2)), dual, rtol=1e-9)


@given(size=st.tuples(st.integers(1, 3), st.integers(1, 6)), seed=seeds, q=st.floats(0, 1))
@settings(max_examples=40)
def test_vertices_by_brute_force(size: tuple[int, int], seed: int, q: float):
    """Over all vertices of each polytope, none has a larger product with the gradient."""
    g = items(size, seed)
    kept = max(1, round((1 - q) * size[1]))
    corners = np.array(np.meshgrid(*[[-1, 0, 1]] * size[1])).reshape(size[1], -1).T
    topq = corners[np.abs(corners).sum(1) == kept] / kept
    boxes = corners[np.abs(corners).sum(1) == size[1]]
    for link, vertices in (
        (partial(T.topq_steepest.fn, q=q), topq),
        (partial(T.box_steepest.fn, min=-1.0, max=1.0), boxes),
        (T.simplex_steepest.fn, -np.eye(size[1])),
    ):
        direction = g.clone()
        link(direction)
        best = (g.numpy() @ vertices.T).max(1)
        np.testing.assert_allclose((direction * g).sum(1), best, rtol=1e-9, atol=1e-12)


@given(size=st.tuples(st.integers(1, 3), st.integers(2, 6)), seed=seeds, q=st.floats(0, 0.9))
@settings(max_examples=25)
def test_topq_ball_against_scipy(size: tuple[int, int], seed: int, q: float):
    x = items(size, seed)
    cap = 2.0 / max(1, round((1 - q) * size[1]))
    y = x.clone()
    T.topq_ball.fn(y, q=q, radius=2.0)
    for row, projected in zip(x.numpy(), y.numpy(), strict=True):
        size_of = np.abs(row)
        found = minimize(
            lambda v, a=size_of: 0.5 * ((v - a) ** 2).sum(),
            np.zeros(len(row)),
            jac=lambda v, a=size_of: v - a,
            bounds=[(0, cap)] * len(row),
            constraints={"type": "ineq", "fun": lambda v: 2.0 - v.sum()},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(projected, np.sign(row) * found.x, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 8), (8, 4), (3, 4, 6), (2, 5, 2, 3)])
@pytest.mark.parametrize(
    ("coefficients", "steps", "error"), [("muon", 5, 0.5), ("polar_express", 8, 0.02)]
)
def test_orthogonalize_against_the_polar_factor(
    shape: tuple[int, ...], coefficients: Any, steps: int, error: float
):
    """Muon's polynomial leaves singular values in about [0.7, 1.2]; Polar Express goes to one."""
    g = batch((2, *shape), 0) if len(shape) == 2 else batch(shape, 0)
    x = g.clone()
    T.orthogonalize.fn(x, coefficients=coefficients, steps=steps)
    values = torch.linalg.svdvals(x.flatten(2))
    assert (values - 1).abs().max() < error
    polar = g.clone()
    T.spectral_steepest.fn(polar)
    cosine = (x * polar).sum() / (x.norm() * polar.norm())
    assert cosine > 0.97


@pytest.mark.parametrize("name", BALLS)
@given(shape=matrices, seed=seeds)
@settings(max_examples=25)
def test_oracle_and_projection_are_of_one_set(name: str, shape: tuple[int, ...], seed: int):
    """The oracle's answer lies in the set, and no projected point has a smaller product."""
    steepest, project, _ = BALLS[name]
    g = batch(shape, seed)
    if steepest is None:
        return
    direction = g.clone()
    steepest.fn(direction)
    vertex = -direction
    again = vertex.clone()
    project.fn(again)
    torch.testing.assert_close(again, vertex)
    least = (g * vertex).sum((1, 2))
    for other in range(1, 6):
        y = 3 * batch(shape, seed + other)
        project.fn(y)
        assert ((g * y).sum((1, 2)) >= least - 1e-9).all()


class TestFrankWolfe:
    """It reaches the known optimum of constrained problems; the gap bounds the error."""

    def solve(self, recipe: str, x: Tensor, loss: Any, steps: int, radius: float) -> float:
        optim = recipes.build(recipe, [x], lmo_scaling_factor=radius)
        for _ in range(steps):
            optim.zero_grad()
            loss(x).backward()
            optim.step()
        optim.zero_grad()
        loss(x).backward()
        assert isinstance(optim, ParamTransformingOptimizer)
        return float(duality_gap(optim))

    def test_lasso_type(self):
        """min ½‖y - b‖² over the l1 ball is the projection of b, found by sorting."""
        b = batch((1, 12), 1)
        x = torch.zeros(1, 12, dtype=torch.float64, requires_grad=True)
        gap = self.solve("fw_l1", x, lambda x: 0.5 * (x - b).square().sum(), 4000, 2.0)
        best = b.clone()
        T.l1_ball.fn(best, radius=2.0)
        error = 0.5 * ((x - b).square().sum() - (best - b).square().sum()).item()
        assert 0 <= error <= gap < 5e-3
        torch.testing.assert_close(x.detach(), best, atol=0.05, rtol=0)

    def test_simplex(self):
        b = batch((3, 8), 2)
        x = torch.full((3, 8), 1 / 8, dtype=torch.float64, requires_grad=True)
        gap = self.solve("fw_simplex", x, lambda x: 0.5 * (x - b).square().sum(), 4000, 1.0)
        best = b.clone()
        T.simplex.fn(best)
        error = 0.5 * ((x - b).square().sum() - (best - b).square().sum()).item()
        assert 0 <= error <= gap < 2e-2
        torch.testing.assert_close(x.sum(1), torch.ones(3, dtype=torch.float64))

    def test_matrix_completion(self):
        """A rank-one matrix of nuclear norm r is recovered from most of its entries."""
        u, v = batch((12, 1), 3), batch((1, 10), 4)
        truth = u @ v
        seen = torch.rand(12, 10, generator=torch.Generator().manual_seed(5)) < 0.7
        radius = float(torch.linalg.matrix_norm(truth, "nuc"))
        x = torch.zeros(12, 10, dtype=torch.float64, requires_grad=True)

        def loss(x: Tensor) -> Tensor:
            return 0.5 * ((x - truth) * seen).square().sum()

        gap = self.solve("fw_nuclear", x, loss, 2000, radius)
        assert loss(x).item() <= gap < 0.1
        assert (x - truth).norm() < 0.1 * truth.norm()

    def test_gap_leaves_gradients_and_parameters_alone(self):
        x = batch((2, 3), 0).requires_grad_()
        x.grad = batch((2, 3), 1)
        before = (x.detach().clone(), x.grad.clone(), x.grad.data_ptr())
        duality_gap(ParamTransformingOptimizer([x], FrankWolfe, transforms=[T.sign()]))
        assert torch.equal(x, before[0])
        assert torch.equal(x.grad, before[1])
        assert x.grad.data_ptr() == before[2]

    def test_gap_needs_frank_wolfe(self):
        with pytest.raises(TypeError, match="duality gap is that of FrankWolfe, got SGD"):
            duality_gap(ParamTransformingOptimizer([torch.zeros(1)]))
