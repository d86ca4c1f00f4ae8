"""What training stacks do with an optimizer: schedulers, scalers, checkpoints."""

import copy
from typing import Any

import pytest
import schedulefree
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, Adam, lr_scheduler
from torch.optim.swa_utils import SWALR

from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer

SCHEDULERS: dict[str, Any] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=20),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "SWALR": lambda o: SWALR(o, 0.01, anneal_epochs=5),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


def train(optim: Any, scheduler: Any, x: Tensor, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        optim.zero_grad()
        loss = (x - 1).square().sum()
        loss.backward()
        optim.step()
        plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if plateau else scheduler.step()
        rates.append(optim.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("inner", [SGD, Adam])
def test_schedulers_drive_the_inner_optimizer_also_after_load(name: str, inner: Any):
    bare, wrapped, resumed = (torch.zeros(3, requires_grad=True) for _ in range(3))
    native: Any = inner([bare], lr=0.1)
    optim = ParamTransformingOptimizer([wrapped], inner, lr=0.1)
    theirs, ours = SCHEDULERS[name](native), SCHEDULERS[name](optim)
    assert train(native, theirs, bare, 4) == train(optim, ours, wrapped, 4)
    other = ParamTransformingOptimizer([resumed], inner, lr=0.1)
    scheduler = SCHEDULERS[name](other)
    other.load_state_dict(copy.deepcopy(optim.state_dict()))
    scheduler.load_state_dict(ours.state_dict())
    with torch.no_grad():
        resumed.copy_(wrapped)
    rates = train(native, theirs, bare, 4)
    assert rates == train(optim, ours, wrapped, 4) == train(other, scheduler, resumed, 4)
    assert other.inner_opt.param_groups[0]["lr"] == rates[-1]
    assert torch.equal(bare, wrapped)
    assert torch.equal(bare, resumed)


@pytest.mark.parametrize("settings", [{}, {"fused": True}, {"foreach": True}], ids=str)
class TestGradScaler:
    def test_transforms_see_unscaled_gradients(self, settings: dict[str, Any]):
        x = torch.zeros(2, requires_grad=True)
        chain = [T.clamp(min=-0.5, max=0.5)]
        optim = ParamTransformingOptimizer([x], SGD, lr=1.0, transforms=chain, **settings)
        scaler = GradScaler("cpu", init_scale=1024.0)
        scaler.scale((x * torch.tensor([0.25, 8.0])).sum()).backward()
        scaler.step(optim)
        assert x.tolist() == [-0.25, -0.5]

    def test_a_skipped_step_skips_transforms_and_state(self, settings: dict[str, Any]):
        x = torch.full((2,), 5.0, requires_grad=True)
        chain = [T.ema(), T.linf_ball(radius=1.0)]
        optim = ParamTransformingOptimizer([x], SGD, lr=1.0, transforms=chain, **settings)
        scaler = GradScaler("cpu")
        scaler.scale((x * torch.tensor([1.0, float("inf")])).sum()).backward()
        scaler.step(optim)
        assert x.tolist() == [5, 5]
        assert not optim.state


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


class TestDistributedCheckpoint:
    def build(self, model: nn.Module) -> ParamTransformingOptimizer:
        chain = [T.ema(), T.weight_decay(), T.l2_ball(radius=0.01)]
        return ParamTransformingOptimizer(model.parameters(), Adam, lr=0.1, transforms=chain)

    def step(self, model: nn.Module, optim: ParamTransformingOptimizer) -> None:
        optim.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optim.step()

    def test_reading_the_state_does_not_move_a_parameter(self):
        model = nn.Linear(3, 4)
        optim = self.build(model)
        before = [p.detach().clone() for p in model.parameters()]
        state = get_optimizer_state_dict(model, optim)
        after = model.parameters()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        entries: Any = state["state"]
        assert "ema" in entries["weight"]

    def test_goes_on_after_set(self):
        model, twin = nn.Linear(3, 4), nn.Linear(3, 4)
        optim = self.build(model)
        self.step(model, optim)
        twin.load_state_dict(model.state_dict())
        other = self.build(twin)
        set_optimizer_state_dict(twin, other, copy.deepcopy(get_optimizer_state_dict(model, optim)))
        assert all(
            torch.equal(a, b) for a, b in zip(twin.parameters(), model.parameters(), strict=True)
        )
        for _ in range(2):
            self.step(model, optim)
            self.step(twin, other)
        assert all(
            torch.equal(a, b) for a, b in zip(twin.parameters(), model.parameters(), strict=True)
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"maximize": True},
        {"foreach": True},
        {"foreach": False},
        {"fused": True},
        {"differentiable": False},
        {"lr": torch.tensor(0.05)},
    ],
    ids=str,
)
@pytest.mark.parametrize("inner", [SGD, Adam])
def test_settings_pass_through(inner: Any, settings: dict[str, Any]):
    settings = {"lr": 0.1, **settings}
    if inner is SGD and isinstance(settings["lr"], Tensor):
        settings["fused"] = True
    bare, wrapped = (torch.ones(3, requires_grad=True) for _ in range(2))
    native, optim = (
        inner([bare], **settings),
        ParamTransformingOptimizer([wrapped], inner, **settings),
    )
    for step in range(3):
        for x, o in ((bare, native), (wrapped, optim)):
            o.zero_grad(set_to_none=step != 1)
            (x * torch.tensor([1.0, -2.0, 3.0])).square().sum().backward()
            o.step()
    assert torch.equal(bare, wrapped)
    key, value = list(settings.items())[-1]
    assert optim.param_groups[0][key] is value


def test_zero_grad_as_asked_for():
    x = torch.ones(2, requires_grad=True)
    optim = ParamTransformingOptimizer([x], lr=0.1)
    x.grad = torch.ones(2)
    optim.zero_grad(set_to_none=False)
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]
    optim.zero_grad()
    assert x.grad is None


def test_schedule_free_modes_are_passed_on():
    bare, wrapped = (torch.ones(3, requires_grad=True) for _ in range(2))
    native = schedulefree.SGDScheduleFree([bare], lr=0.1)
    optim = ParamTransformingOptimizer([wrapped], schedulefree.SGDScheduleFree, lr=0.1)
    for _ in range(3):
        for x, o in ((bare, native), (wrapped, optim)):
            o.train()
            o.zero_grad()
            x.square().sum().backward()
            o.step()
            o.eval()
    assert torch.equal(bare, wrapped)
    averaged = wrapped.detach().clone()
    optim.train()
    assert not torch.equal(wrapped, averaged)
