"""What an independent trial found wrong, through the names that users call."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.optim import SGD, Adam

from xformopt import ParamTransformingOptimizer, recipes, testing, transforms
from xformopt import transforms as T
from xformopt.optim import (
    FrankWolfe,
    L2ProjectedOptim,
    Route,
    RoutedOptimizer,
    SignedGradientOptim,
)
from xformopt.optim.frank_wolfe import duality_gap
from xformopt.schedules import linear


class TestProjecting:
    @pytest.mark.parametrize("grad", [None, torch.zeros(1, 2)])
    @pytest.mark.parametrize("links", [False, True])
    def test_with_lr_0_and_no_gradient(self, grad: Tensor | None, links: bool):
        x = torch.tensor([[3.0, 4.0]], requires_grad=True)
        x.grad = grad
        if links:
            optim: Any = ParamTransformingOptimizer([x], lr=0, transforms=[T.l2_ball()])
        else:
            optim = L2ProjectedOptim([x], epsilon=1, lr=0)
        optim.step()
        torch.testing.assert_close(x.detach(), torch.tensor([[0.6, 0.8]]))

    def test_not_when_a_checkpoint_has_the_state_made(self):
        model = nn.Linear(3, 2)
        with torch.no_grad():
            model.weight.fill_(9.0)
        before = [p.detach().clone() for p in model.parameters()]
        optim = ParamTransformingOptimizer(
            model, Adam, lr=0.1, transforms=[T.momentum(), T.l2_ball(), T.param_ema()]
        )
        state: Any = get_optimizer_state_dict(model, optim)
        assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
        assert optim.state[model.weight]["param_ema"]["step"] == 0
        assert "momentum" in state["state"]["weight"]


class TestDerivatives:
    @pytest.mark.parametrize(
        ("build", "named"),
        [
            (partial(ParamTransformingOptimizer, transforms=[T.sign()]), "sign"),
            (partial(ParamTransformingOptimizer, grad_scale=2.0), "grad_scale"),
            (SignedGradientOptim, "SignedGradientOptim"),
        ],
    )
    def test_would_be_lost(self, build: Any, named: str):
        with pytest.raises(ValueError, match=rf"`differentiable=True` would lose .* of {named}"):
            build([torch.zeros(2, requires_grad=True)], SGD, lr=0.1, differentiable=True)

    def test_are_kept_where_nothing_acts(self):
        x = torch.ones(1, requires_grad=True)
        y = x.clone()
        optim = ParamTransformingOptimizer([y], SGD, lr=0.5, differentiable=True)
        y.grad = 3 * x
        optim.step()
        y.sum().backward()
        torch.testing.assert_close(x.grad, torch.tensor([1 - 0.5 * 3]))


class TestLrScale:
    def lrs(self, optim: Any) -> list[float]:
        return [round(group["lr"], 9) for group in optim.param_groups]

    def test_of_groups(self):
        x, y, z = (torch.zeros(1) for _ in range(3))
        groups = [{"params": [x]}, {"params": [y], "lr": 0.5}]
        optim = ParamTransformingOptimizer(groups, SGD, lr=0.1, lr_scale=3.0)
        assert self.lrs(optim) == [0.3, 1.5]
        optim.add_param_group({"params": [z]})
        optim.add_param_group({"params": [torch.zeros(1)], "lr": 2.0})
        assert self.lrs(optim) == [0.3, 1.5, 0.3, 6.0]

    def test_of_a_schedule(self):
        optim = ParamTransformingOptimizer(
            [torch.zeros(1)], lr=linear(1.0, 0.0, steps=4), lr_scale=2
        )
        optim.step()
        optim.step()
        assert self.lrs(optim) == [1.5]

    @pytest.mark.parametrize("name", recipes.names())
    def test_under_every_recipe(self, name: str):
        def build(**own: Any) -> Any:
            return recipes.build(name, nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), **own)

        plain, scaled = build(), build(lr_scale=0.5)
        assert self.lrs(scaled) == [0.5 * lr for lr in self.lrs(plain)]

    def test_a_rate_of_the_users_stays(self):
        lr = torch.tensor(0.1)
        optim = ParamTransformingOptimizer([torch.zeros(1)], SGD, lr=lr, lr_scale=2.0)
        assert lr == 0.1
        assert optim.param_groups[0]["lr"] == 0.2

    def test_wrong_ones(self):
        for scale in (0.0, -1.0):
            with pytest.raises(ValueError, match="`lr_scale` must be a number > 0, got"):
                recipes.build("lion", [torch.zeros(1)], lr_scale=scale)
        with pytest.raises(TypeError, match="`lr_scale` must be a number, got 'high'"):
            ParamTransformingOptimizer([torch.zeros(1)], lr_scale="high")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize(
    "own", [{"compile": False}, {"grad_scale": 0.5}, {"strict_ndim": False}, {"grad_bias": 0.1}]
)
def test_every_recipe_takes_the_settings_of_the_core(name: str, own: dict[str, Any]):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optim = recipes.build(name, model, **own)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optim.step()
    for key in own.keys() & {"grad_scale", "grad_bias"}:
        assert {group[key] for group in optim.param_groups} == {own[key]}


class TestGroups:
    def test_a_setting_over_all_gradients_that_is_set_for_one_group(self):
        x, y = torch.zeros(1), torch.zeros(1)
        groups = [{"params": [x]}, {"params": [y]}]
        optim = ParamTransformingOptimizer(groups, transforms=[T.clip_total_norm()], lr=0.1)
        optim.param_groups[1]["clip_total_norm.max_norm"] = 0.1
        x.grad = torch.ones(1)
        with pytest.raises(ValueError, match=r"`clip_total_norm.max_norm` cannot differ by group"):
            optim.step()

    @pytest.mark.parametrize(
        ("own", "said"),
        [
            ({"q": 7}, "has a setting `q` that nothing reads"),
            ({"momentun": 0.9}, "nothing reads: did you mean `momentum`"),
            ({"lr": -3.0}, "`lr` of SGD must be a number >= 0, got -3.0"),
            ({"l2_ball.radius": -1.0}, "`radius` of `l2_ball` must be a number >= 0"),
        ],
    )
    @pytest.mark.parametrize("route", ["used", "empty"])
    def test_added_to_a_route(self, own: dict[str, Any], said: str, route: str):
        routes = {
            "used": Route("a*", transforms=[T.l2_ball()], lr=0.1),
            "empty": Route("b*", transforms=[T.l2_ball()], lr=0.1, optional=True),
        }
        optim = RoutedOptimizer([("a", torch.zeros(2))], routes)
        name = {"used": "a2", "empty": "b"}[route]
        with pytest.raises((TypeError, ValueError), match=said):
            optim.add_param_group({"params": [(name, torch.zeros(2))], **own})
        assert len(optim.param_groups) == 1
        optim.add_param_group({"params": [(name, torch.zeros(2))], "lr": 0.7})
        assert optim.param_groups[1]["lr"] == 0.7

    def test_a_route_keeps_what_its_partial_says(self):
        routes = {
            "own": Route("a", inner=partial(Adam, lr=3e-3)),
            "set": Route("b", lr=0.2),
            "rest": Route(),
        }
        named = [(name, torch.zeros(2)) for name in "abc"]
        optim = RoutedOptimizer(named, routes, lr=0.1)
        assert [group["lr"] for group in optim.param_groups] == [3e-3, 0.2, 0.1]

    @pytest.mark.parametrize(
        ("beside", "said"),
        [
            ({"inner": Adam}, "`inner` stands beside routes .* set `routes.all.inner`"),
            (
                {"transforms": [T.sign()]},
                "`transforms` stands .* set `routes.all.transforms`",
            ),
            ({"lr": 0.1}, "`lr` stands beside routes .* or `lr_scale` for all"),
            ({"weight_decay": 0.3}, "`weight_decay` stands .* set `routes.all.weight_decay`"),
            ({"grad_scale": 5.0}, "`grad_scale` stands .* set `routes.all.grad_scale`"),
            (
                {"param_ndim": 1},
                "`param_ndim=1` stands .* set `routes.all.param_ndim`",
            ),
        ],
    )
    def test_beside_routes_that_have_their_own(self, beside: dict[str, Any], said: str):
        inner = partial(SGD, lr=0.1, weight_decay=0.1)
        own: dict[str, Any] = {"inner": inner, "transforms": [], "param_ndim": None}
        own["grad_scale"] = 2.0
        with pytest.raises(ValueError, match=said):
            RoutedOptimizer([("a", torch.zeros(2))], {"all": Route(**own)}, **beside)


SVD = ["spectral_steepest", "nuclear_steepest", "spectral_ball", "nuclear_ball", "stiefel"]


@pytest.mark.parametrize("name", SVD)
def test_nan_names_transform_and_parameter(name: str):
    model: Any = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optim = ParamTransformingOptimizer(
        model, lr=0.1, transforms=[transforms.get(name)()], param_ndim=2, strict_ndim=False
    )
    with torch.no_grad():
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        model[1].weight.grad.fill_(float("nan"))
        model[1].weight.fill_(float("nan"))
    with pytest.raises(Exception, match=r"\w") as caught:
        optim.step()
    notes = "".join(getattr(caught.value, "__notes__", ()))
    assert f"in the transform `{name}`" in notes
    assert "for `1.weight` (2, 4)" in notes
    assert "0.weight" not in notes


def test_an_error_under_maximize_leaves_gradients_as_they_were():
    x, y = torch.ones(2, 2, requires_grad=True), torch.ones(3, requires_grad=True)
    settings: dict[str, Any] = {"maximize": True, "param_ndim": None}
    optim = ParamTransformingOptimizer(
        [x, y], SGD, transforms=[T.weight_decay(), T.spectral_steepest()], **settings
    )
    x.grad, y.grad = torch.full((2, 2), float("nan")), torch.ones(3)
    with pytest.raises(ValueError, match="spectral_steepest"):
        optim.step()
    assert y.grad.max() > 0


@pytest.mark.parametrize(
    "name", [n for n in transforms.names() if transforms.get(n).scope == "item"]
)
def test_complex_parameters_are_refused(name: str):
    """By every transform of items, for silently wrong numbers."""
    z = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    optim = ParamTransformingOptimizer([z], SGD, transforms=[transforms.get(name)()])
    z.grad = torch.ones_like(z)
    with pytest.raises(TypeError, match="transforms act on real numbers, and this parameter"):
        optim.step()


def test_the_duality_gap_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor([[0.5, 0.2, 0.1]], requires_grad=True)
    x.grad = torch.tensor([[1.0, -1.0, 0.5]])
    links = [T.top_q(q=0.5, dq=0.4, generator=generator), T.random_sparse(), T.l2_norm()]
    optim = ParamTransformingOptimizer([x], FrankWolfe, transforms=links)
    before = generator.get_state(), torch.get_rng_state()
    duality_gap(optim)
    assert torch.equal(generator.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("name", transforms.names())
def test_transforms_of_parameters_run_before_the_step_too(name: str):
    """Those of gradients have no effect after it, those of updates a time of their own."""
    made = transforms.get(name)
    if made.target == "update":
        with pytest.raises(ValueError, match=f"`when` of `{name}` must be 'update', got 'pre'"):
            made(when="pre")
        return
    if made.target == "grad":
        with pytest.raises(ValueError, match=f"`when='post'` of `{name}` has no effect: it writes"):
            made(when="post")
        return
    x = torch.ones(3, 4, requires_grad=True)
    x.grad = torch.ones(3, 4)
    resources = [k for k, s in made.settings.items() if s.is_resource]
    own: dict[str, Any] = {k: torch.Generator().manual_seed(0) for k in resources}
    link = made(when="pre", **own)
    optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[link])
    optim.step()
    optim.project()
    assert x.isfinite().all()
    assert testing.apply(made, torch.ones(3, 4)).isfinite().all()
