"""`weight_decay`, `momentum` and `betas` mean one thing, in recipes as in torch's optimizers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import OneCycleLR

from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T


def parameters(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(4, 3, generator=generator, dtype=dtype), torch.full((3,), 2.0, dtype=dtype)]
    return [p.requires_grad_() for p in made]


def trained(build: Callable[[list[Tensor]], Any], count: int = 10) -> Tensor:
    params = parameters()
    optimizer = build(params)
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


def grouped(params: list[Tensor], **second: Any) -> list[dict[str, Any]]:
    return [{"params": params[:1]}, {"params": params[1:], **second}]


PAIRS: dict[str, Any] = {
    "adamw_parts": lambda params, **own: AdamW(params, **{"lr": 1e-3, **own}),
    "adam_parts": lambda params, **own: Adam(params, **{"lr": 1e-3, **own}),
    "rmsprop_parts": lambda params, **own: RMSprop(params, **{"lr": 1e-3, **own}),
    "sgd_momentum": lambda params, **own: SGD(params, **{"lr": 1e-2, "momentum": 0.9, **own}),
}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("adamw_parts", {"weight_decay": 0.3}),
        ("adamw_parts", {"weight_decay": 0.0, "betas": (0.8, 0.9)}),
        ("adamw_parts", {"maximize": True}),
        ("adam_parts", {"betas": (0.7, 0.99), "eps": 1e-4}),
        ("adam_parts", {"weight_decay": 0.3}),
        ("rmsprop_parts", {"weight_decay": 0.3, "alpha": 0.7, "momentum": 0.5}),
        ("sgd_momentum", {"weight_decay": 0.3}),
        ("sgd_momentum", {"momentum": 0.5}),
        ("sgd_momentum", {"momentum": 0.5, "nesterov": True}),
        ("sgd_momentum", {"maximize": True}),
    ],
)
def test_settings_and_groups_mean_what_they_mean_in_torch(name: str, own: dict[str, Any]):
    expected = trained(lambda params: PAIRS[name](params, **own))
    got = trained(lambda params: recipes.build(name, params, **own))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    if "maximize" in own:
        return
    expected = trained(lambda params: PAIRS[name](grouped(params, **own)))
    got = trained(lambda params: recipes.build(name, grouped(params, **own)))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_a_group_added_later_and_a_key_changed_in_place():
    def steps(build: Callable[[list[Tensor]], Optimizer]) -> Tensor:
        params = parameters()
        optimizer = build(params[:1])
        optimizer.add_param_group({"params": params[1:], "weight_decay": 0.0})
        optimizer.param_groups[0]["weight_decay"] = 0.5
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        return torch.cat([p.detach().flatten() for p in params])

    got = steps(lambda params: recipes.build("adamw_parts", params, lr=0.1))
    torch.testing.assert_close(got, steps(lambda params: AdamW(params, lr=0.1)))


def test_a_link_key_that_is_assigned_acts_too():
    x = torch.ones(1, requires_grad=True)
    optimizer = recipes.build("adamw_parts", [x], lr=0.1)
    optimizer.param_groups[0]["weight_decay.weight"] = 0.5
    x.grad = torch.zeros(1)
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    torch.testing.assert_close(x.detach(), torch.tensor([0.95]))


def test_maximizing_decays():
    """The example of the issue: AdamW goes to 0.358 where a growing weight went to 2.65."""
    x, y = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ours = recipes.build("adamw_parts", [x], lr=1e-3, weight_decay=10.0, maximize=True)
    theirs = AdamW([y], lr=1e-3, weight_decay=10.0, maximize=True)
    for _ in range(100):
        for p, optimizer in ((x, ours), (y, theirs)):
            p.grad = torch.full_like(p, 1e-3)
            optimizer.step()
    torch.testing.assert_close(x, y)
    assert x.item() < 1


@pytest.mark.parametrize("name", recipes.names())
def test_maximizing_is_minimizing_the_negative(name: str):
    def after(sign: float, **own: Any) -> list[Tensor]:
        params = [p.detach().requires_grad_() for p in parameters(torch.float32)]
        optimizer = recipes.build(name, zip(("a.weight", "a.bias"), params, strict=True), **own)
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = sign * torch.randn(p.shape, generator=generator)
            optimizer.step()
        return params

    for a, b in zip(after(-1.0, maximize=True), after(1.0), strict=True):
        torch.testing.assert_close(a, b)


VALUES: dict[str, Any] = {
    "lr": 0.03, "weight_decay": 0.3, "momentum": 0.7, "nesterov": True, "betas": (0.8, 0.95),
    "eps": 1e-3, "alpha": 0.6,
}  # fmt: skip


def takes(name: str, key: str) -> bool:
    try:
        recipes.build(name, parameters(), **{key: VALUES[key]})
    except (TypeError, ValueError):
        return False
    return True


PLAIN = [name for name in recipes.names() if not recipes.get(name).routes]
TAKEN = [(name, key) for name in PLAIN for key in VALUES if takes(name, key)]


def ways(name: str, key: str) -> list[Any]:
    """Return what a setting leads to: given to `build`, in groups, and assigned later."""
    value = VALUES[key]

    def assigned(params: list[Tensor]) -> Any:
        optimizer = recipes.build(name, params)
        for group in optimizer.param_groups:
            group[key] = value
        return optimizer

    builds = [
        lambda params: recipes.build(name, params, **{key: value}),
        lambda params: recipes.build(name, [{"params": [p], key: value} for p in params]),
        assigned,
    ]
    return [trained(build) for build in builds]


@pytest.mark.parametrize(("name", "key"), TAKEN)
def test_a_setting_means_the_same_wherever_it_is_given(name: str, key: str):
    """For every recipe without routes, and every key that it takes."""
    given, grouped, assigned = ways(name, key)
    assert torch.equal(given, grouped)
    assert torch.equal(given, assigned)
    assert not torch.equal(given, trained(lambda params: recipes.build(name, params)))


@pytest.mark.parametrize("name", ["sign_sgd", "normalized_sgd"])
def test_momentum_of_sgd_itself_acts_where_the_chain_has_none(name: str):
    x, y = (torch.zeros(1, requires_grad=True) for _ in range(2))
    ours = recipes.build(name, [{"params": [x], "momentum": 0.9}], lr=0.1)
    theirs = SGD([y], lr=0.1, momentum=0.9)
    for _ in range(3):
        for p, optimizer in ((x, ours), (y, theirs)):
            p.grad = torch.ones_like(p)
            optimizer.step()
    torch.testing.assert_close(x, y)


def test_lars_decays_within_its_ratio_alone():
    for decay, expected in ((0.0, 1.0), (0.5, 1.0 - 1e-3)):
        x = torch.ones(2, 2, requires_grad=True)
        optimizer = recipes.build("lars", [("x", x)], weight_decay=decay)
        x.grad = torch.zeros_like(x)
        optimizer.step()
        torch.testing.assert_close(x.detach(), torch.full((2, 2), expected))


def test_muon_decays_once():
    model: Any = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    optimizer: Any = recipes.build("muon", model, weight_decay=0.1)
    hidden = optimizer.optimizers["hidden"]
    assert hidden.param_groups[0]["weight_decay"] == 0.1
    before = model[0].weight.detach().clone()
    model[0].weight.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), before * (1 - 0.02 * 0.1))


def test_lamb_decays_before_the_trust_ratio():
    x, y = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ours = recipes.build("lamb", [x], weight_decay=0.5)
    as_link = recipes.build("lamb", [y], {"weight_decay": {"weight": 0.5}})
    for p, optimizer in ((x, ours), (y, as_link)):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert torch.equal(x, y)


class TestTwice:
    def test_a_setting_given_twice(self):
        with pytest.raises(ValueError, match=r"`weight_decay` and `weight_decay.weight` are one"):
            recipes.build(
                "adamw_parts", parameters(), {"weight_decay": {"weight": 0.1}}, weight_decay=0.2
            )
        with pytest.raises(ValueError, match=r"`betas` and `adam.beta1` are one"):
            recipes.build("adam_parts", grouped(parameters(), betas=(0, 0), **{"adam.beta1": 0.1}))

    def test_sgd_beside_links(self):

        with pytest.raises(
            ValueError, match=r"`momentum` of SGD \(=0.9\) and the links would both"
        ):
            ParamTransformingOptimizer(
                parameters(), partial(SGD, momentum=0.9), transforms=[T.momentum()],
                standard_keys=True,
            )  # fmt: skip

    def test_dampening_beside_a_link(self):
        said = r"`dampening` of SGD \(=0.5\) has no effect, since `transforms.momentum.decay` is"
        with pytest.raises(ValueError, match=said):
            recipes.build("sgd_momentum", parameters(), dampening=0.5)
        with pytest.raises(ValueError, match=said):
            recipes.build("sgd_momentum", grouped(parameters(), dampening=0.5))

    def test_decay_of_the_inner_optimizer_beside_links(self):
        for inner, links in ((AdamW, 1), (partial(SGD, weight_decay=0.3), 2)):
            said = r"`weight_decay` of the inner optimizer \(=0.*\) would act beside `transforms.w"
            with pytest.raises(ValueError, match=said):
                ParamTransformingOptimizer(
                    parameters(), inner, transforms=[T.weight_decay()] * links, standard_keys=True
                )

    def test_betas_of_a_wrong_length(self):
        with pytest.raises(ValueError, match=r"`betas` must be 2 numbers, got 0.9"):
            recipes.build("lion", parameters(), betas=0.9)

    def test_what_a_recipe_does_not_have(self):
        with pytest.raises(TypeError, match=r"SGD has no setting `betas`"):
            recipes.build("sign_sgd", parameters(), betas=(0.9, 0.99))


class TestOneCycle:
    def run(self, optimizer: Any, params: list[Tensor], **own: Any) -> Tensor:
        scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=12, **own)
        generator = torch.Generator().manual_seed(1)
        for _ in range(10):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            optimizer.step()
            scheduler.step()
        return torch.cat([p.detach().flatten() for p in params])

    def test_cycles_the_momentum_that_a_recipe_has(self):
        ours, theirs = parameters(), parameters()
        got = self.run(recipes.build("sgd_momentum", ours), ours)
        expected = self.run(SGD(theirs, lr=1e-2, momentum=0.9), theirs)
        torch.testing.assert_close(got, expected)

    def test_cycles_the_momentum_that_a_group_has(self):
        ours, theirs = parameters(), parameters()
        got = self.run(recipes.build("sign_sgd", [{"params": ours, "momentum": 0.5}]), ours)
        plain = ParamTransformingOptimizer(theirs, SGD, momentum=0.5, transforms=[T.sign()])
        assert torch.equal(got, self.run(plain, theirs))

    @pytest.mark.parametrize("name", ["lion", "sign_sgd", "lamb"])
    def test_leaves_what_a_recipe_fixes(self, name: str):
        ours, theirs = parameters(), parameters()
        got = self.run(recipes.build(name, ours), ours)
        expected = self.run(recipes.build(name, theirs), theirs, cycle_momentum=False)
        assert torch.equal(got, expected)


def test_betas_that_were_assigned_are_saved():
    params = parameters()
    optimizer = recipes.build("adam_parts", params)
    optimizer.param_groups[0]["betas"] = (0.5, 0.6)
    (saved,) = optimizer.state_dict()["param_groups"]
    assert (saved["adam.beta1"], saved["adam.beta2"]) == (0.5, 0.6)
    assert "betas" not in saved
