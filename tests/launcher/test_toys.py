"""Toys: their minima are minima, and the defaults find them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.tasks import toys
from experiments.tasks.toy import Toy

ROOT = Path(__file__).parents[2]
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


@pytest.mark.parametrize(
    ("name", "share"),
    [("rosenbrock", 0.9), ("himmelblau", 1.0), ("beale", 0.5), ("simplex_least_squares", 1.0)],
)
def test_solved_with_defaults(cli: Any, name: str, share: float):
    result = cli(f"task={name}")
    final = result.read("summary.json")["final"]
    assert final["solved"] >= share
    assert final["distance"] < 1e-2


@pytest.mark.parametrize(
    "problem",
    [
        toys.rosenbrock(3, 1),
        toys.himmelblau(1),
        toys.beale(1),
        toys.rastrigin(4, 1),
        toys.ill_conditioned(5, 100.0, 1),
    ],
    ids=lambda p: p.name,
)
def test_known_minima_are_minima(problem: Toy):
    x = problem.minima.double().requires_grad_()
    hessian_safe = problem.function(x.float()).sum()
    (gradient,) = torch.autograd.grad(hessian_safe, x)
    assert gradient.abs().max() < 1e-3
    around = problem.minima[:, None] + 0.05 * torch.randn(len(x), 200, x.shape[1])
    values = problem.function(around.flatten(0, 1)).view(len(x), 200)
    assert (values >= problem.function(problem.minima)[:, None] - 1e-6).all()


def test_simplex_solution_is_optimal():
    """No feasible direction descends: the gradient is least on the support."""
    problem = toys.simplex_least_squares(8, 1)
    x = problem.minima.clone().requires_grad_()
    problem.function(x).sum().backward()
    assert x.grad is not None
    on, off = x.grad[x > 0], x.grad[x == 0]
    assert problem.minima.sum().item() == pytest.approx(1)
    assert (on.max() - on.min()).item() < 1e-4
    assert off.min() > on.max() + 0.5


def test_ill_conditioned_has_its_condition():
    problem = toys.ill_conditioned(4, 50.0, 1)
    hessian = torch.autograd.functional.hessian(
        lambda x: problem.function(x[None]).sum(), torch.zeros(4)
    )
    eigenvalues = torch.linalg.eigvalsh(torch.as_tensor(hessian))
    assert (eigenvalues[-1] / eigenvalues[0]).item() == pytest.approx(50, rel=1e-3)


def test_settings_reach_the_problem(cli: Any):
    result = cli("task=ill_conditioned", "task.dim=3", "task.starts=5", "trainer.steps=3")
    assert result.read("summary.json")["parameters"] == 15
