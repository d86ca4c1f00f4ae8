"""Routes: what they take, what they build, and that the whole is one optimizer."""

import copy
import io
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
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
        with pytest.raises(
            TypeError, match="route `all`: it has a setting `lrr` that nothing reads"
        ):
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
    def build(self, model: nn.Module, max_norm: Any = 0.5, **settings: Any) -> RoutedOptimizer:
        routes = {"matrices": Route(ndim=2), "rest": Route(lr=1.0)}
        chain = [T.clip_total_norm(max_norm=max_norm)]
        return RoutedOptimizer(model.named_parameters(), routes, transforms=chain, **settings)

    def test_one_norm_over_all(self):
        model = nn.Linear(3, 2)
        optim = copy.deepcopy(self.build(model))
        assert norm_after_step(optim) == pytest.approx(0.5)
        assert list(optim.transforms) == ["clip_total_norm"]

    @pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:Dynamo detected a call")
    @pytest.mark.parametrize("compile", [False, True])
    def test_it_follows_a_schedule(self, compile: bool):
        optim = self.build(nn.Linear(3, 2), linear(1.0, 0.0, steps=4), compile=compile)
        norms = [norm_after_step(optim) for _ in range(6)]
        assert norms == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])

    def test_groups_say_its_settings(self):
        model = nn.Linear(3, 2)
        optim = self.build(model)
        for group in optim.param_groups:
            group["clip_total_norm.max_norm"] = 0.25
        other = self.build(model)
        other.load_state_dict(optim.state_dict())
        for o in (optim, copy.deepcopy(optim), other):
            assert norm_after_step(o) == pytest.approx(0.25)
        optim.param_groups[0]["clip_total_norm.max_norm"] = 0.0
        with pytest.raises(ValueError, match=r"`clip_total_norm.max_norm` cannot differ by group"):
            optim.step()

    def test_a_route_that_has_it_too_needs_another_name(self):
        clip, model = T.clip_total_norm(max_norm=1.0), nn.Linear(3, 2)
        with pytest.raises(
            ValueError, match=r"route `all`: the link `clip_total_norm` stands both"
        ):
            RoutedOptimizer(model, {"all": Route(transforms=[clip])}, transforms=[clip])
        RoutedOptimizer(model, {"all": Route(transforms={"own": clip})}, transforms=[clip])


def norm_after_step(optim: RoutedOptimizer) -> float:
    params = [p for group in optim.param_groups for p in group["params"]]
    for p in params:
        p.grad = torch.ones_like(p)
    optim.step()
    return torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None]).item()


ROUTED = [name for name, recipe in recipes.RECIPES.items() if recipe.routes]
SHAPES = {"wte.weight": (5, 3), "a.weight": (3, 3), "a.bias": (3,), "head.weight": (2, 3)}


def parameters() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}


def built(name: str, params: Any, **settings: Any) -> RoutedOptimizer:
    """Build a recipe, or the routes "own", with settings of theirs and a schedule."""
    if name in ROUTED:
        optim: Any = recipes.build(name, params, **settings)
        return optim
    own: dict[str, Any] = {"lr": linear(0.1, 0.2, steps=4), "momentum": 0.9, "top_q.q": 0.5}
    links = {"decay": T.weight_decay(weight=0.3), "ema": T.ema()}
    routes = {
        "matrices": Route("*weight", transforms=[T.top_q(q=0.1)], param_ndim=2, **own),
        "rest": Route(
            transforms=links, weight_decay=0.2, strict_ndim=False, momentum=0.8, optional=True
        ),
    }
    return RoutedOptimizer(params, routes, standard_keys=True, **settings)


def has_other_inners(name: str) -> bool:
    return name in ROUTED and {r.inner for r in recipes.get(name).routes.values()} != {"sgd"}


class TestGroups:
    @pytest.mark.parametrize("name", [*ROUTED, "own"])
    @pytest.mark.parametrize("own", [{}, {"lr": 0.5}, {"weight_decay": 0.0}, {"momentum": 0.3}])
    @pytest.mark.parametrize("which", SHAPES)
    def test_an_added_one_is_as_if_it_had_been_there(
        self, name: str, own: dict[str, Any], which: str
    ):
        if "momentum" in own and has_other_inners(name):  # AdamW has none
            own = {"grad_scale": 0.5}
        params = parameters()
        added = {"params": [(which, params.pop(which))], **own}
        optim = built(name, params.items(), lr_scale=2.0)
        optim.add_param_group(added)
        whole = built(name, [{"params": params.items()}, added], lr_scale=2.0)
        by_name = {g["param_names"][-1]: g for g in whole.param_groups}
        assert optim.param_groups[-1] == by_name[which]

    @pytest.mark.parametrize("name", [*ROUTED, "own"])
    def test_given_groups_are_split(self, name: str):
        params = parameters()
        plain = built(name, params.items())
        optim = built(name, [{"params": params.items(), "weight_decay": 0.0, "lr": 0.5}])
        for ours, theirs in zip(optim.param_groups, plain.param_groups, strict=True):
            held = {k: v for k, v in theirs.items() if not k.startswith("schedule")}
            assert ours == {**held, "weight_decay": 0.0, "lr": 0.5}

    def test_nothing_is_decayed_where_a_group_says_so(self):
        params = parameters()
        optim = recipes.build("muon", [{"params": params.items(), "weight_decay": 0.0}])
        before = {name: p.detach().clone() for name, p in params.items()}
        for p in params.values():
            p.grad = torch.zeros_like(p)
        optim.step()
        assert all(torch.equal(p, before[name]) for name, p in params.items())

    def test_only_added_groups_name_a_route(self):
        group = {"params": parameters().items(), "route": "head"}
        with pytest.raises(ValueError, match="`add_param_group` alone reads its `route`, got 'hea"):
            recipes.build("muon", [group])

    @pytest.mark.parametrize("way", ["del", "assign"])
    def test_one_that_is_taken_out_stays_as_it_is(self, way: str):
        params = parameters()
        optim = built("muon", params.items())
        routes = [group["route"] for group in optim.param_groups]
        out = optim.param_groups[1]
        if way == "del":
            del optim.param_groups[1]
        else:
            optim.param_groups = [g for g in optim.param_groups if g is not out]
        assert [g["route"] for g in optim.param_groups] == [r for r in routes if r != out["route"]]
        before = {name: p.detach().clone() for name, p in params.items()}
        for p in params.values():
            p.grad = torch.ones_like(p)
        for o in (optim, copy.deepcopy(optim)):
            o.step()
            assert len(o.param_groups) == len(routes) - 1
        moved = {name for name, p in params.items() if not torch.equal(p, before[name])}
        assert moved == {*SHAPES} - {*out["param_names"]}
        assert out["route"] not in optim.describe().split()
        optim.add_param_group({"params": [(n, params[n]) for n in out["param_names"]]})
        assert len(optim.param_groups) == len(routes)

    @pytest.mark.parametrize("stranger", [{}, {"params": [], "route": "nope"}])
    def test_one_of_no_route_is_refused(self, stranger: dict[str, Any]):
        optim = built("muon", parameters().items())
        optim.param_groups.append(stranger)
        with pytest.raises(ValueError, match=r"`param_groups\[4\]` is of no route: add groups by"):
            optim.step()


class TestCycledMomentum:
    @pytest.mark.parametrize("name", [*ROUTED, "own"])
    def test_one_cycle_with_its_defaults(self, name: str):
        params = parameters()
        optim = built(name, params.items())
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optim, 0.1, total_steps=4)
        for _ in range(3):
            for p in params.values():
                p.grad = torch.ones_like(p)
            optim.step()
            scheduler.step()
        cycled = [g.get("momentum") or g["betas"][0] for g in optim.param_groups]
        assert all(0.85 <= value <= 0.95 for value in cycled)

    def test_momentum_is_the_first_of_betas(self):
        params = parameters()
        optim = built("muon", params.items())
        torch.optim.lr_scheduler.OneCycleLR(optim, 0.1, total_steps=4, max_momentum=0.7)
        optim.step()
        betas = {g["route"]: g["betas"] for g in optim.param_groups if "betas" in g}
        assert betas == dict.fromkeys(("embeddings", "head", "rest"), (0.7, 0.999))

    def test_all_betas_are_cycled_as_such(self):
        routes = {"matrices": Route(ndim=2, inner=Adam), "rest": Route(inner=AdamW)}
        optim = RoutedOptimizer(parameters().items(), routes)
        torch.optim.lr_scheduler.OneCycleLR(optim, 0.1, total_steps=4, max_momentum=0.7)
        assert [g["betas"] for g in optim.param_groups] == [(0.7, 0.999)] * 2
        assert not any("momentum" in g for g in optim.param_groups)

    def test_without_any_torch_says_so(self):
        optim = RoutedOptimizer(parameters().items(), {"all": Route(inner=torch.optim.Adagrad)})
        with pytest.raises(
            ValueError, match="must support momentum or beta1 with `cycle_momentum`"
        ):
            torch.optim.lr_scheduler.OneCycleLR(optim, 0.1, total_steps=4)
        assert optim.defaults["lr"] == 0.01


def test_what_belongs_beside_the_routes():
    for key in ("compile", "lr_scale", "standard_keys"):
        own: dict[str, Any] = {key: True}
        with pytest.raises(TypeError, match=rf"route `all`: .*`{key}` .* set it beside the routes"):
            RoutedOptimizer(parameters().items(), {"all": Route(**own)})


@pytest.mark.parametrize("own", [{"lr": 0.1}, {"weight_decay": 0.1}, {"top_q.q": 0.1}])
def test_a_route_that_freezes_has_no_settings(own: dict[str, Any]):
    with pytest.raises(ValueError, match=f"nothing reads its `{next(iter(own))}`: leave them out"):
        Route("*bias", freeze=True, **own)


def test_states_are_made_without_a_step_on_any_route():
    model = nn.Linear(2, 2)
    for p in model.parameters():
        nn.init.constant_(p, 5.0)
    routes = {
        "first": Route("weight", inner=Adam, transforms=[T.box(min=-1.0, max=1.0)]),
        "second": Route(transforms=[T.adam(), T.param_ema(), T.box(min=-1.0, max=1.0)]),
    }
    optim = RoutedOptimizer(model, routes)
    state: Any = get_optimizer_state_dict(model, optim)
    assert all(p.eq(5.0).all() for p in model.parameters())
    assert state["state"]["bias"]["adam"]["step"] == 0
    assert state["state"]["bias"]["param_ema"]["step"] == 0


def test_the_inner_optimizer_is_called_inner():
    with pytest.raises(TypeError, match="`InnerOpt` is `inner` here: that of the routes which"):
        RoutedOptimizer([("w", nn.Parameter(torch.ones(2)))], {"all": Route()}, InnerOpt=SGD)
