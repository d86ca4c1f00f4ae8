"""Settings of links that follow the step, per group, through save and load."""

import copy
import io
import pickle
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.schedules import Schedule, exponential, linear


def kept(optim: ParamTransformingOptimizer, x: Tensor, steps: int) -> list[int]:
    """Step on a gradient of eight different entries; return how many are kept each time."""
    counts = []
    for _ in range(steps):
        x.grad = torch.arange(1.0, 9.0).view(1, 8)
        optim.step()
        counts.append(int(x.grad.count_nonzero()))
    return counts


def build(*groups: dict[str, object]) -> ParamTransformingOptimizer:
    link = T.top_q(q=linear(0.0, 1.0, steps=8))
    return ParamTransformingOptimizer(list(groups), lr=0.1, transforms=[link])


def test_a_setting_follows_its_schedule():
    x = torch.zeros(1, 8)
    optim = build({"params": [x]})
    assert kept(optim, x, 9) == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert optim.param_groups[0]["top_q.q"] == 1.0


def test_a_group_has_its_own():
    x, y = torch.zeros(1, 8), torch.zeros(1, 8)
    optim = build({"params": [x]}, {"params": [y], "top_q.q": exponential(0.5, rate=0.5)})
    kept(optim, x, 3)
    assert [g["top_q.q"] for g in optim.param_groups] == [0.25, 0.125]


def test_an_added_group_begins_at_its_own_start():
    x, y = torch.zeros(1, 8), torch.zeros(1, 8)
    optim = build({"params": [x]})
    kept(optim, x, 4)
    optim.add_param_group({"params": [y]})
    assert kept(optim, x, 1) == [4]
    assert [g["top_q.q"] for g in optim.param_groups] == [0.5, 0.0]


def test_goes_on_after_save_and_load():
    x, y = torch.zeros(1, 8), torch.zeros(1, 8)
    optim, other = build({"params": [x]}), build({"params": [y]})
    kept(optim, x, 3)
    file = io.BytesIO()
    torch.save(optim.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert kept(other, y, 2) == kept(optim, x, 2) == [5, 4]


def test_a_closure_that_is_called_often_is_one_step():
    x = torch.ones(1, 8, requires_grad=True)
    link = T.top_q(q=linear(0.0, 1.0, steps=8))
    optim = ParamTransformingOptimizer([x], torch.optim.LBFGS, transforms=[link])

    def closure() -> Tensor:
        optim.zero_grad()
        loss = (x**4).sum()
        loss.backward()
        return loss

    for _ in range(2):
        optim.step(closure)
    assert optim.param_groups[0]["schedule_step"] == 2


def test_a_schedule_outside_the_rule_is_refused():
    with pytest.raises(ValueError, match=r"`q` of `top_q` must be a number in \[0, 1\], got 2"):
        T.top_q(q=linear(2.0, 0.0, steps=3))
    with pytest.raises(ValueError, match=r"got 4.0 at step 4 of linear\(0.0, 4.0, steps=4\)"):
        T.top_q(q=linear(0.0, 4.0, steps=4))
    x = torch.zeros(1, 8)
    late = T.top_q(q=exponential(0.5, rate=2.0))
    optim = ParamTransformingOptimizer([x], transforms=[late])
    with pytest.raises(ValueError, match=r"`q` of `top_q` must be a number in \[0, 1\], got 2"):
        kept(optim, x, 3)
    with pytest.raises(ValueError, match="`steps` of a schedule must be an int >= 1, got 0"):
        linear(0.0, 1.0, steps=0)


@pytest.mark.parametrize("way", [Schedule, lambda function: function])
def test_any_function_of_the_step(way: Any):
    x = torch.zeros(1, 8)
    link = T.top_q(q=way(lambda step: 0.5 if step % 2 else 0.0))
    optim = ParamTransformingOptimizer([x], transforms=[link])
    assert kept(optim, x, 4) == [8, 4, 8, 4]
    group = {"params": [x], "top_q.q": way(lambda step: 0.25 * step)}
    optim = ParamTransformingOptimizer([group], transforms=[T.top_q(q=0.0)])
    assert kept(optim, x, 3) == [8, 6, 4]


def test_functions_of_every_kind_have_a_name():
    class Ramp:
        def __call__(self, step: int) -> float:
            return 0.1 * step

    assert repr(T.top_q(q=partial(pow, 0.5))) == "top_q(q=partial(), dq=0.0)"
    ramp: Any = Ramp()
    assert repr(T.top_q(q=ramp)) == "top_q(q=Ramp(), dq=0.0)"


def test_settings_that_are_checked_together():
    x = torch.full((3, 4), 9.0)
    box = T.box(min=linear(-0.1, -1.0, steps=2), max=linear(0.1, 1.0, steps=2))
    optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[box])
    reached = []
    for _ in range(3):
        x.fill_(9.0)
        optim.step()
        reached.append(round(x.max().item(), 3))
    assert reached == [0.1, 0.55, 1.0]
    T.l2_sphere(radius=linear(1.0, 2.0, steps=3))
    with pytest.raises(ValueError, match="`box`: `min` must not exceed `max`"):
        T.box(min=0.0, max=linear(1.0, -1.0, steps=2))


def test_a_schedule_put_into_a_group_later():
    x = torch.zeros(1, 8)
    optim = ParamTransformingOptimizer([x], transforms=[T.top_q(q=0.0)])
    assert kept(optim, x, 1) == [8]
    optim.param_groups[0]["top_q.q"] = lambda step: 0.25 * step
    assert kept(optim, x, 3) == [8, 6, 4]
    optim.param_groups[0]["top_q.q"] = linear(0.5, 0.0, steps=1)
    assert kept(optim, x, 1) == [8]


def test_an_int_setting_follows_a_schedule_rounded():
    x = torch.ones(3, 4, requires_grad=True)
    optim = ParamTransformingOptimizer(
        [x], lr=0.1, transforms=[T.quantize(bits=linear(8, 2, steps=4))]
    )
    seen = []
    for _ in range(6):
        x.grad = torch.ones_like(x)
        optim.step()
        seen.append(optim.param_groups[0]["quantize.bits"])
    assert seen == [8, 6, 5, 4, 2, 2]
    assert all(isinstance(bits, int) for bits in seen)


class TestGroups:
    """A schedule belongs to its group, wherever that stands among the others."""

    def build(self, params: list[Any]) -> ParamTransformingOptimizer:
        groups = [
            {"params": [p], "linf_ball.radius": linear(1.0 + i, 0.0, steps=4)}
            for i, p in enumerate(params)
        ]
        return ParamTransformingOptimizer(groups, lr=0.1, transforms=[T.linf_ball(radius=9.0)])

    def radii(self, optim: ParamTransformingOptimizer) -> list[float]:
        return [group["linf_ball.radius"] for group in optim.param_groups]

    def test_removed(self):
        optim = self.build([torch.zeros(1) for _ in range(3)])
        optim.step()
        del optim.param_groups[0]
        optim.step()
        assert self.radii(optim) == [1.5, 2.25]

    def test_reordered(self):
        optim = self.build([torch.zeros(1) for _ in range(3)])
        optim.step()
        optim.param_groups.reverse()
        optim.step()
        assert self.radii(optim) == [2.25, 1.5, 0.75]

    @pytest.mark.parametrize("routed", [False, True])
    def test_a_state_without_schedules_is_loaded_into_one_with(self, routed: bool):
        def build(radius: Any) -> Any:
            x = torch.zeros(2)
            if routed:
                route = Route(transforms=[T.linf_ball(radius=radius)], lr=0.1)
                return RoutedOptimizer([("x", x)], {"all": route})
            return ParamTransformingOptimizer([x], transforms=[T.linf_ball(radius=radius)], lr=0.1)

        optim = build(linear(4.0, 0.0, steps=4))
        optim.load_state_dict(build(1.0).state_dict())
        for _ in range(3):
            optim.step()
        assert self.radii(optim) == [2.0]

    def test_a_load_goes_on_where_the_saved_one_was(self):
        optim = self.build([torch.zeros(1) for _ in range(2)])
        for _ in range(3):
            optim.step()
        twin = self.build([torch.zeros(1) for _ in range(2)])
        twin.load_state_dict(optim.state_dict())
        twin.step()
        assert self.radii(twin) == [0.25, 0.5]


class TestPlainKeys:
    """Keys without a dot follow schedules as settings of links do."""

    def test_lr_everywhere_it_can_be_given(self):
        x, y = torch.zeros(1), torch.zeros(1)
        fall = linear(0.4, 0.0, steps=4)
        builds: list[Any] = [
            lambda: ParamTransformingOptimizer([x], SGD, lr=fall),
            lambda: ParamTransformingOptimizer([x], partial(SGD, **{"lr": fall})),
            lambda: ParamTransformingOptimizer([{"params": [x], "lr": fall}], SGD),
            lambda: ParamTransformingOptimizer([x], SGD, lr=lambda step: 0.4 - 0.1 * step),
            lambda: RoutedOptimizer([("x", x)], {"all": Route(lr=fall)}),
        ]
        for build in builds:
            optim = build()
            seen = []
            for _ in range(5):
                x.grad = torch.ones(1)
                before = x.item()
                optim.step()
                seen.append(round(before - x.item(), 6))
            assert seen == [0.4, 0.3, 0.2, 0.1, 0.0]
        optim = builds[0]()
        optim.step()
        optim.add_param_group({"params": [y]})
        assert [group["lr"] for group in optim.param_groups] == [0.4, 0.4]
        optim.step()
        assert [round(group["lr"], 6) for group in optim.param_groups] == [0.3, 0.4]

    def test_what_the_core_and_the_inner_optimizer_have(self):
        x = torch.zeros(1, requires_grad=True)
        optim = ParamTransformingOptimizer(
            [x], SGD, lr=1.0, momentum=linear(0.9, 0.5, steps=1),
            grad_scale=linear(1.0, 3.0, steps=2), grad_bias=linear(0.0, 2.0, steps=2),
        )  # fmt: skip
        keys = ("momentum", "grad_scale", "grad_bias")
        seen = []
        for _ in range(3):
            x.grad = torch.ones(1)
            optim.step()
            seen.append([optim.param_groups[0][key] for key in keys] + [x.grad.item()])
        assert seen == [[0.9, 1.0, 0.0, 1.0], [0.5, 2.0, 1.0, 3.0], [0.5, 3.0, 2.0, 5.0]]

    def test_a_scheduler_of_torchs_takes_over(self):
        x = torch.zeros(1)
        optim = ParamTransformingOptimizer([x], lr=linear(0.4, 0.0, steps=4))
        scheduler = ExponentialLR(optim, gamma=0.5)
        optim.step()
        scheduler.step()
        optim.step()
        assert optim.param_groups[0]["lr"] == 0.2


@pytest.mark.parametrize("key", ["linf_ball.radius", "lr"])
def test_a_number_that_is_assigned_stays(key: str):
    x = torch.ones(2)
    fall = linear(1.0, 0.0, steps=8)
    optim = ParamTransformingOptimizer([x], lr=fall, transforms=[T.linf_ball(radius=fall)])
    optim.step()
    optim.param_groups[0][key] = 0.3
    for _ in range(2):
        optim.step()
    other = "lr" if key == "linf_ball.radius" else "linf_ball.radius"
    assert optim.param_groups[0][key] == 0.3
    assert optim.param_groups[0][other] == 0.75


class TestAssigned:
    """A number is told by what it is, not by its value."""

    def build(self, lr: Any) -> ParamTransformingOptimizer:
        return ParamTransformingOptimizer([torch.zeros(2)], lr=lr)

    def rates(self, optim: ParamTransformingOptimizer) -> list[float]:
        seen = []
        for _ in range(3):
            optim.step()
            seen.append(optim.param_groups[0]["lr"])
        return seen

    def test_the_number_of_this_step_stays(self):
        optim = self.build(linear(0.1, 0.0, steps=10))
        optim.step()
        optim.param_groups[0]["lr"] = float("0.1")
        assert self.rates(optim) == [0.1, 0.1, 0.1]

    @pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle"])
    def test_stays_where_the_optimizer_goes(self, way: str):
        optim = self.build(linear(0.1, 0.0, steps=10))
        optim.step()
        optim.param_groups[0]["lr"] = 7.0
        if way == "state_dict":
            twin = self.build(linear(0.1, 0.0, steps=10))
            twin.load_state_dict(optim.state_dict())
        else:
            twin = copy.deepcopy(optim) if way == "deepcopy" else pickle.loads(pickle.dumps(optim))
        assert self.rates(twin) == [7.0, 7.0, 7.0]

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
    def test_schedules_of_copies_go_on(self, copied: Any):
        optim = self.build(linear(0.5, 0.0, steps=4))
        optim.step()
        assert self.rates(copied(optim)) == [0.375, 0.25, 0.125]

    def test_a_function_of_something_else_goes_on(self):
        rate = {"now": 0.1}
        optim = self.build(lambda step: rate["now"])
        optim.step()
        rate["now"] = 1.0
        assert self.rates(optim) == [1.0, 1.0, 1.0]


class TestRules:
    """Settings without a dot are checked as those of links are: at the end, and when written."""

    @pytest.mark.parametrize("routed", [False, True])
    def test_at_the_end(self, routed: bool):
        x, fall = torch.zeros(2), linear(0.1, -1.0, steps=10)
        core = partial(ParamTransformingOptimizer, [x], lr=fall)
        routes = partial(RoutedOptimizer, [("x", x)], {"all": Route(lr=fall)})
        build: Any = routes if routed else core
        with pytest.raises(ValueError, match=r"`lr` of SGD must be a number >= 0, got -1.0 at"):
            build()

    @pytest.mark.parametrize(
        ("key", "schedule", "says"),
        [
            (
                "lr",
                lambda step: 0.5 - step,
                r"`lr` of SGD must be a number >= 0, got -0.5 at step 1",
            ),
            ("grad_scale", lambda step: None if step else 1.0, "`grad_scale` must be a number"),
        ],
    )
    def test_when_written(self, key: str, schedule: Any, says: str):
        optim = ParamTransformingOptimizer([torch.zeros(2)], **{"lr": 0.1, key: schedule})
        optim.step()
        with pytest.raises((TypeError, ValueError), match=f"{says}.*; bound the schedule"):
            optim.step()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("top_q.q", [0.5], r"`q` of `top_q` must be a number in \[0, 1\], got \[0.5\]"),
        ("grad_scale", "a", "`grad_scale` must be a number, got 'a'"),
        ("grad_bias", None, "`grad_bias` must be a number, got None"),
        ("top_q.x", 3, r"keys \['top_q.x'\] of no link; there are \['top_q.q'"),
        ("top_q", 3, r"`top_q` of a parameter group is a link, .* set one of \['top_q.q'"),
    ],
)
def test_what_is_put_into_a_group_is_checked(key: str, value: Any, says: str):
    x = torch.ones(3, requires_grad=True)
    optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[T.top_q(q=0.5)])
    x.grad = torch.ones(3)
    optim.step()
    optim.param_groups[0][key] = value
    with pytest.raises((TypeError, ValueError), match=says):
        optim.step()
    with pytest.raises((TypeError, ValueError), match=says):
        ParamTransformingOptimizer(
            [{"params": [x], key: value}], lr=0.1, transforms=[T.top_q(q=0.5)]
        )


def test_numbers_of_other_kinds_are_numbers():
    x = torch.ones(3, requires_grad=True)
    optim = ParamTransformingOptimizer([x], lr=0.0, grad_scale=Fraction(1, 2))  # type: ignore[arg-type]
    x.grad = torch.ones(3)
    optim.step()
    assert x.grad.tolist() == [0.5, 0.5, 0.5]
