"""Routes: what they take, what they build, and that the whole is one optimizer."""

import copy
import io
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from xformopt import recipes
from xformopt import transforms as T
from xformopt.configs import make_optimizer
from xformopt.optim import ParamTransformingOptimizer, Route, RoutedOptimizer
from xformopt.schedules import linear


class SmallTransformer(nn.Module):
    """Embeddings, attention, 4-D kernels, norms, biases and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.patches = nn.Conv2d(1, 8, 3)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(8, 11)

    def forward(self, words: Tensor, images: Tensor) -> Tensor:
        seen = self.patches(images).flatten(2).mT
        return self.head(self.block(torch.cat([self.embedding(words), seen], 1))[:, 0] * self.scale)


def backward(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(11, (16, 5), generator=generator)
    images = torch.randn(16, 1, 5, 5, generator=generator)
    loss = nn.functional.cross_entropy(model(words, images), words[:, 0])
    model.zero_grad()
    loss.backward()
    return loss.detach()


def routes() -> dict[str, Route]:
    return {
        "frozen": Route("scale", freeze=True),
        "tables": Route(["*embedding*", "head.*"], inner=partial(Adam, lr=3e-3)),
        "matrices": Route("re:.*weight", ndim=">=2", transforms=[T.ema(), T.sign()], lr=2e-3),
        "rest": Route(inner=AdamW, weight_decay=0.1),
    }


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return SmallTransformer()


def routed(model: nn.Module) -> RoutedOptimizer:
    return RoutedOptimizer(model.named_parameters(), routes(), inner=SGD)


class TestRules:
    def test_first_match_wins(self, model: nn.Module):
        optim = routed(model)
        names = {g["route"]: g["param_names"] for g in optim.param_groups}
        assert names["tables"] == ["embedding.weight", "head.weight", "head.bias"]
        assert "patches.weight" in names["matrices"]
        assert set(names["rest"]) >= {"block.norm1.weight", "patches.bias"}
        assert list(names) == ["tables", "matrices", "rest"]

    def test_settings_reach_the_groups(self, model: nn.Module):
        tables, matrices, rest = routed(model).param_groups
        assert (tables["lr"], matrices["lr"], rest["weight_decay"]) == (3e-3, 2e-3, 0.1)

    @pytest.mark.parametrize(
        ("rule", "ndim", "holds"),
        [(2, 2, True), ("2", 3, False), (">=2", 3, True), ("<2", 1, True), ("> 2", 2, False)],
    )
    def test_ndim(self, rule: Any, ndim: int, holds: bool):
        assert Route(ndim=rule).takes("x", ndim) is holds

    def test_frozen_parameters_stay(self, model: nn.Module):
        optim = routed(model)
        backward(model)
        optim.step()
        assert model.get_parameter("scale").item() == 1.0
        assert not model.get_parameter("scale").requires_grad

    def test_a_rule_that_takes_nothing(self, model: nn.Module):
        with pytest.raises(ValueError, match=r"route `none` \(lstm.\*\) takes no parameter; mend"):
            RoutedOptimizer(model.named_parameters(), {"none": Route("lstm.*"), "rest": Route()})
        RoutedOptimizer(
            model.named_parameters(), {"none": Route("lstm.*", optional=True), "rest": Route()}
        )

    def test_a_parameter_that_no_rule_takes(self):
        with pytest.raises(ValueError, match=r"no route takes bias \(3,\); add a last route"):
            RoutedOptimizer(nn.Linear(2, 3).named_parameters(), {"matrices": Route(ndim=2)})

    def test_other_bad_input(self):
        layer = nn.Linear(2, 3)
        nameless: Any = layer.parameters()
        with pytest.raises(TypeError, match=r"pass the model, or `model.named_parameters\(\)`"):
            RoutedOptimizer(nameless, {"all": Route()})
        with pytest.raises(ValueError, match=r"`ndim` of a route must be a number.*'two'"):
            Route(ndim="two")
        with pytest.raises(TypeError, match="route `all` has a setting `lrr` that nothing reads"):
            RoutedOptimizer(layer.named_parameters(), {"all": Route(lrr=0.1)})
        with pytest.raises(TypeError, match="`freez` that nothing reads: did you mean `freeze`"):
            RoutedOptimizer(layer.named_parameters(), {"all": Route(freez=True)})
        with pytest.raises(ValueError, match=r"`match` of a route must be.*'re:\(': missing \)"):
            Route("re:(")
        wrong: Any = 3
        with pytest.raises(TypeError, match="`routes` must be a mapping name → rule, got 3"):
            make_optimizer(layer.named_parameters(), inner=SGD, routes=wrong)
        with pytest.raises(ValueError, match="every route freezes"):
            RoutedOptimizer(layer.named_parameters(), {"all": Route(freeze=True)})
        with pytest.raises(ValueError, match="route `all`: `param_ndim=3` needs at least 3"):
            RoutedOptimizer(
                layer.named_parameters(), {"all": Route(param_ndim=3)}, strict_ndim=True
            )

    def test_table(self, model: nn.Module):
        table = routed(model).describe()
        assert "tables    *embedding* or head.*  Adam" in table
        assert "frozen" in table.splitlines()[-1]
        assert "(8, 1, 3, 3)" in table


class TestOneOptimizer:
    def test_steps_as_its_parts_would(self, model: nn.Module):
        twin = copy.deepcopy(model)
        optim = routed(model)
        named = dict(twin.named_parameters())
        groups = {g["route"]: [named[n] for n in g["param_names"]] for g in optim.param_groups}
        parts: list[Any] = [
            Adam(groups["tables"], lr=3e-3),
            ParamTransformingOptimizer(
                groups["matrices"], SGD, lr=2e-3, transforms=[T.ema(), T.sign()]
            ),
            AdamW(groups["rest"], weight_decay=0.1),
        ]
        for _ in range(4):
            backward(model)
            optim.step()
            backward(twin)
            for part in parts:
                part.step()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)

    def test_closure_is_called_once(self, model: nn.Module):
        calls = []

        def closure() -> Tensor:
            calls.append(torch.is_grad_enabled())
            return backward(model)

        assert routed(model).step(closure) > 0
        assert calls == [True]

    @pytest.mark.parametrize("way", ["load", "deepcopy", "pickle"])
    def test_goes_on_from_a_saved_state_to_the_bit(self, model: nn.Module, way: str):
        optim = routed(model)
        for _ in range(3):
            backward(model)
            optim.step()
        if way == "load":
            file = io.BytesIO()
            torch.save(optim.state_dict(), file)
            file.seek(0)
            twin = SmallTransformer()
            twin.load_state_dict(model.state_dict())
            other = routed(twin)
            other.load_state_dict(torch.load(file, weights_only=True))
        elif way == "deepcopy":
            twin, other = copy.deepcopy((model, optim))
        else:
            twin, other = pickle.loads(pickle.dumps((model, optim)))
        for _ in range(3):
            for m, o in ((model, optim), (twin, other)):
                backward(m)
                o.step()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)

    def test_loading_other_routes_says_what_differs(self, model: nn.Module):
        saved = routed(model).state_dict()
        other = RoutedOptimizer(model.named_parameters(), {"all": Route()})
        with pytest.raises(ValueError, match=r"`route` is matrices, rest, tables where.*has all"):
            other.load_state_dict(saved)

    def test_schedulers_see_every_group(self, model: nn.Module):
        optim = routed(model)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optim, 0.5)
        backward(model)
        optim.step()
        scheduler.step()
        assert [g["lr"] for g in optim.param_groups] == [1.5e-3, 1e-3, 5e-4]

    def test_added_group_goes_to_its_route(self, model: nn.Module):
        optim = routed(model)
        extra = nn.Parameter(torch.zeros(3, 3))
        with pytest.raises(ValueError, match=r"`route` of the group must be in.*got 'nope'"):
            optim.add_param_group({"params": [("extra", extra)], "route": "nope"})
        optim.add_param_group({"params": [("extra", extra)], "route": "matrices"})
        assert optim.optimizers["matrices"].param_groups[-1]["params"] == [extra]

    def test_added_parameters_are_sorted_by_the_rules(self, model: nn.Module):
        optim = routed(model)
        matrix, vector = nn.Parameter(torch.zeros(3, 3)), nn.Parameter(torch.zeros(3))
        with pytest.raises(TypeError, match="routes need names"):
            optim.add_param_group({"params": [matrix]})
        optim.add_param_group(
            {"params": [("extra.weight", matrix), ("extra.bias", vector)], "lr": 0.5}
        )
        added = {g["route"]: g for g in optim.param_groups[-2:]}
        assert added["matrices"]["params"] == [matrix]
        assert added["rest"]["params"] == [vector]
        assert [g["lr"] for g in added.values()] == [0.5, 0.5]

    def test_added_parameters_of_routes_that_freeze_or_took_nothing(self):
        rules = {
            "head": Route("head*", inner=Adam, optional=True, lr=0.3),
            "still": Route("still*", freeze=True),
            "all": Route(),
        }
        body, still, more = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        named = [*body.named_parameters(), ("still.weight", still.weight)]
        optim = RoutedOptimizer(named, rules, inner=SGD)
        head = nn.Parameter(torch.zeros(2, 2))
        group: dict[str, Any] = {
            "params": [("head.w", head), ("still.bias", still.bias), ("more", more.weight)]
        }
        optim.add_param_group(group)
        assert [g["route"] for g in optim.param_groups] == ["all", "head", "all"]
        assert not still.bias.requires_grad
        head.grad = torch.ones_like(head)
        optim.step()
        torch.testing.assert_close(head.detach(), torch.full((2, 2), -0.3))
        assert set(optim.state[head]) == {"step", "exp_avg", "exp_avg_sq"}
        twin = copy.deepcopy(optim)
        assert [g["route"] for g in twin.param_groups] == ["all", "head", "all"]
        with pytest.raises(ValueError, match="some parameters of the group are in a route already"):
            optim.add_param_group(group)
        assert len(optim.param_groups) == 3

    def test_zero_grad_and_project(self, model: nn.Module):
        chain = [T.linf_ball(radius=0.01)]
        optim = RoutedOptimizer(model.named_parameters(), {"all": Route(transforms=chain)})
        backward(model)
        optim.zero_grad()
        assert all(p.grad is None for p in model.parameters())
        optim.project()
        assert max(p.abs().max().item() for p in model.parameters()) <= 0.01


def test_muon_trains_a_transformer_with_no_further_setting(model: nn.Module):
    optim = recipes.build("muon", model.named_parameters())
    first = backward(model)
    for _ in range(60):
        backward(model)
        optim.step()
    assert backward(model) < 0.5 * first
    taken = {g["route"]: set(g["param_names"]) for g in optim.param_groups}
    assert taken["embeddings"] == {"embedding.weight"}
    assert "patches.weight" in taken["hidden"]
    assert taken["head"] == {"head.weight"}
    assert {"scale", "head.bias"} <= taken["rest"]


def test_muon_of_a_model_without_matrices():
    optim = recipes.build("muon", nn.LayerNorm(4).named_parameters())
    assert [g["route"] for g in optim.param_groups] == ["rest"]


class TestLinksOverAllRoutes:
    def build(self, model: nn.Module, **settings: Any) -> RoutedOptimizer:
        routes = {"matrices": Route(ndim=2), "rest": Route(lr=1.0)}
        chain = [T.clip_total_norm(max_norm=0.5, **settings)]
        return RoutedOptimizer(model.named_parameters(), routes, transforms=chain)

    def test_one_norm_over_all(self):
        model = nn.Linear(3, 2)
        optim = copy.deepcopy(self.build(model))
        params = [p for group in optim.param_groups for p in group["params"]]
        for p in params:
            p.grad = torch.ones_like(p)
        optim.step()
        total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
        assert total.item() == pytest.approx(0.5)
        assert list(optim.transforms) == ["clip_total_norm"]

    def test_a_schedule_is_refused(self):
        with pytest.raises(ValueError, match=r"`clip_total_norm\.max_norm` acts over all routes"):
            RoutedOptimizer(
                nn.Linear(3, 2).named_parameters(),
                {"all": Route()},
                transforms=[T.clip_total_norm(max_norm=linear(1.0, 2.0, steps=3))],
            )
