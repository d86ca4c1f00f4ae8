"""Schedules of the learning rates: torch's own as oracles, laws over all that are registered."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra_zen import instantiate
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR

from experiments.cli.groups import options, stored
from experiments.cli.store import fill_store
from experiments.run import schedules
from experiments.run.schedules import scheduler

fill_store()

STEPS = 40
ORACLES: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, STEPS),
    "linear": lambda optimizer: LinearLR(optimizer, 1.0, 0.0, STEPS),
    "step": lambda optimizer: MultiStepLR(optimizer, [20, 30]),
    "one_cycle": lambda optimizer: OneCycleLR(optimizer, 0.1, STEPS, cycle_momentum=False),
}


def rates(make: Callable[[Any], Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", ORACLES)
def test_as_torch_has_it(name: str):
    ours = rates(lambda optimizer: scheduler(optimizer, getattr(schedules, name), STEPS))
    assert ours == pytest.approx(rates(ORACLES[name]), abs=1e-9)


@pytest.mark.parametrize("name", options("schedule"))
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_is_a_share_at_each_step_of_a_run_of_any_length(name: str, steps: int):
    factor = instantiate(stored("schedule", name))
    found = [factor(step, steps) for step in range(steps + 1)]
    assert all(0 <= value <= 1 for value in found)
    assert max(found[:-1]) > 0


@pytest.mark.parametrize("name", ["linear", "cosine", "step", "wsd"])
def test_a_warm_up_rises_on_a_line(name: str):
    factor = getattr(schedules, name)
    rising = [factor(step, 100, warmup=0.1) for step in range(10)]
    assert rising == pytest.approx([(step + 1) / 11 for step in range(10)])


def test_stays_between_warm_up_and_decay():
    found = [schedules.wsd(step, 100, warmup=0.1, decay=0.5, final=0.2) for step in range(101)]
    assert set(found[10:51]) == {1.0}
    assert found[75] == pytest.approx(0.6)
    assert found[100] == pytest.approx(0.2)


def test_mixed_inner_optimizers_follow(cli: Any):
    short = ("optim=muon", "trainer.steps=6", "trainer.checkpoint=none")
    plain, other = (cli(*short, *more) for more in ((), ("schedule=step", "schedule.at=[0]")))
    assert other.status == 0, other.err
    lower = cli(*short, "optim.lr_scale=0.1")
    assert other.metrics[-1]["loss"] == pytest.approx(lower.metrics[-1]["loss"], rel=1e-4)
    assert plain.metrics[-1]["loss"] != pytest.approx(lower.metrics[-1]["loss"], rel=1e-2)
