"""A toy's starts are independent problems under every recipe, and recipes keep their rates."""

from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from experiments.cli.groups import CONF
from experiments.cli.store import fill_store
from experiments.models.points import Points
from experiments.run.independent import independent
from experiments.tasks.toys import ill_conditioned
from tests.test_configs import VERSION
from xformopt import recipes
from xformopt.optim import FrankWolfe, ParamTransformingOptimizer, inner_optimizers
from xformopt.transforms import clip_total_norm

START = torch.tensor([[-1.5, 1.2], [0.3, 0.4], [1.9, -1.7], [0.0, 0.1]])
COUPLING = {"lbfgs"}
SPARSE = {"sparseadam"}


def moved(make: Any, start: Tensor, steps: int = 5) -> Tensor:
    toy = ill_conditioned(dim=2, condition=10.0, starts=len(start))
    points, optimizer = independent(make, Points(start))
    for _ in range(steps):

        def closure() -> Any:
            optimizer.zero_grad()
            loss = toy.loss(points, None)
            loss.backward()
            return loss

        optimizer.step(closure)
    return points().detach()


@pytest.mark.parametrize("name", recipes.names())
def test_each_start_moves_as_alone(name: str):
    def make(points: Points) -> Any:
        return recipes.build(name, points.named_parameters())

    together = moved(make, START)
    for i, alone in enumerate(START.split(1)):
        torch.testing.assert_close(together[i : i + 1], moved(make, alone), rtol=1e-4, atol=1e-6)


INNERS = [*inner_optimizers().items(), ("frank_wolfe", FrankWolfe)]


@pytest.mark.parametrize(
    ("name", "inner"), [pair for pair in INNERS if pair[0] not in COUPLING | SPARSE]
)
def test_each_start_moves_as_alone_under_inner_optimizers(name: str, inner: Any):
    together = moved(lambda points: inner(points.parameters(), lr=1e-2), START)
    for i, alone in enumerate(START.split(1)):
        expected = moved(lambda points: inner(points.parameters(), lr=1e-2), alone)
        torch.testing.assert_close(together[i : i + 1], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("chosen", "what"),
    [
        ("optim/inner=lbfgs", "LBFGS"),
        ("optim/transforms=[clip_total_norm]", "the link `clip_total_norm`"),
    ],
)
def test_what_takes_all_starts_as_one_problem_is_refused(cli: Any, chosen: str, what: str):
    result = cli("task=rosenbrock", chosen, "trainer.steps=3")
    assert result.status == 2
    assert result.err == (
        f"error: `task.starts` must be 1 under {what}, which takes all starts as one problem, got "
        f"64; leave {what} out, or try one start with several seeds\n"
    )
    assert cli("task=rosenbrock", chosen, "task.starts=1", "trainer.steps=3").status == 0


def test_points_are_one_parameter_where_nothing_couples_them():
    def clipped(points: Points) -> Any:
        return ParamTransformingOptimizer(points, transforms=[clip_total_norm(max_norm=1.0)])

    whole, _ = independent(lambda p: recipes.build("clipped_adam", p), Points(START))
    apart, _ = independent(lambda p: recipes.build("lamb", p), Points(START))
    assert [tuple(p.shape) for p in whole.parameters()] == [(4, 2)]
    assert [tuple(p.shape) for p in apart.parameters()] == [(1, 2)] * 4
    assert torch.equal(apart(), START)
    alone, _ = independent(clipped, Points(START[:1]))
    assert [tuple(p.shape) for p in alone.parameters()] == [(1, 2)]


@pytest.mark.parametrize("name", [n for n in recipes.names() if not recipes.get(n).routes])
def test_a_toy_leaves_a_recipe_its_rate(name: str, clean_hydra: None):
    fill_store()
    with initialize_config_dir(str(CONF), **VERSION):
        cfg = compose("config", overrides=["task=beale", f"optim={name}"])
    built = recipes.build(name, [torch.zeros(1, 2)])
    assert cfg.optim.inner.lr == built.param_groups[0]["lr"]
