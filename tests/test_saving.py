"""What is saved goes on: by name, in order, with generators, buffers in their own dtype."""

import copy
import gc
import io
import pickle
from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, Adam

from xformopt import ParamTransformingOptimizer, recipes, testing, transforms
from xformopt import transforms as T
from xformopt.optim import (
    ChainedParamTransformingOptimizer,
    L1qNormedGradientOptim,
    Route,
    RoutedOptimizer,
    TopQGradientOptimizer,
    buckets,
)
from xformopt.schedules import linear


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = {"stem": nn.Linear(3, 3), "body": nn.Linear(3, 4), "head": nn.Linear(4, 2)}
    return nn.Sequential(OrderedDict(layers))


def step(optimizer: Any, params: Any, seed: int = 0, count: int = 1) -> None:
    for i in range(count):
        generator = torch.Generator().manual_seed(seed + i)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts_of(optimizer: Any) -> list[ParamTransformingOptimizer]:
    """The optimizers of the routes, or the optimizer itself."""
    return [*getattr(optimizer, "optimizers", {"": optimizer}).values()]


RANDOM: dict[str, Any] = {
    "top_q": lambda p: ParamTransformingOptimizer(
        p, lr=0.1, transforms=[T.top_q(q=0.5, dq=0.4, generator=seeded())]
    ),
    "gradient_noise": lambda p: ParamTransformingOptimizer(
        p, lr=0.1, transforms=[T.gradient_noise(generator=seeded())]
    ),
    "random_sparse": lambda p: ParamTransformingOptimizer(
        p, lr=0.1, transforms=[T.random_sparse(generator=seeded())]
    ),
    "TopQGradientOptimizer": lambda p: TopQGradientOptimizer(
        p, lr=0.1, q=0.5, dq=0.4, generator=seeded()
    ),
    "L1qNormedGradientOptim": lambda p: L1qNormedGradientOptim(
        p, lr=0.1, q=0.5, dq=0.4, generator=seeded()
    ),
    "routes": lambda p: RoutedOptimizer(
        [("a", p[0]), ("b", p[1])],
        {"all": Route(transforms=[T.gradient_noise(generator=seeded())], lr=0.1)},
    ),
}


class TestGenerators:
    @pytest.mark.parametrize("name", RANDOM)
    def test_go_on(self, name: str):
        params = [torch.ones(4, 3, requires_grad=True) for _ in range(2)]
        optim = RANDOM[name](params)
        step(optim, params)
        saved = through_a_file(optim.state_dict())
        twins = [p.detach().clone().requires_grad_() for p in params]
        twin = RANDOM[name](twins)
        twin.load_state_dict(saved)
        step(optim, params, 1, 3)
        step(twin, twins, 1, 3)
        assert all(torch.equal(p, q) for p, q in zip(params, twins, strict=True))

    def test_every_transform_that_draws_is_here(self):
        drawing = [t for t in map(transforms.get, transforms.names()) if testing.is_random(t)]
        assert {t.name for t in drawing} | {"top_q"} <= RANDOM.keys()

    def test_one_that_has_none_says_so(self):
        x = torch.ones(2, requires_grad=True)
        saved = RANDOM["top_q"]([x, torch.ones(2)]).state_dict()
        other = ParamTransformingOptimizer([x, torch.ones(2)], transforms=[T.top_q(q=0.5)], lr=0.1)
        with pytest.raises(ValueError, match=r"state of a generator for `top_q.generator`, "):
            other.load_state_dict(saved)
        with pytest.raises(ValueError, match=r"no state for the generator `top_q.generator`: "):
            RANDOM["top_q"]([x, torch.ones(2)]).load_state_dict(other.state_dict())

    @pytest.mark.parametrize("name", ["top_q", "TopQGradientOptimizer", "routes"])
    def test_are_the_users_own_after_a_load(self, name: str):
        params = [torch.ones(4, 3, requires_grad=True) for _ in range(2)]
        optim = RANDOM[name](params)
        before = parts_of(optim)[0].generators()
        optim.load_state_dict(through_a_file(optim.state_dict()))
        after = parts_of(optim)[0].generators()
        assert len(before) == 1
        assert before[0] is after[0]

    def test_of_parts_of_one_class_are_two(self):
        def build(x: Tensor, *seeds: int) -> Any:
            parts = [
                partial(TopQGradientOptimizer, q=0.5, dq=0.4, generator=seeded(s)) for s in seeds
            ]
            return ChainedParamTransformingOptimizer(*parts, params=[x], lr=0.1)

        x = torch.ones(20, 10, requires_grad=True)
        optim = build(x, 1, 2)
        step(optim, [x], 0, 3)
        y = x.detach().clone().requires_grad_()
        twin = build(y, 3, 4)
        twin.load_state_dict(through_a_file(optim.state_dict()))
        assert len(twin.generators()) == 2
        step(optim, [x], 3, 3)
        step(twin, [y], 3, 3)
        assert torch.equal(x, y)

    def test_may_differ_by_group(self):
        x, y = (torch.ones(50, requires_grad=True) for _ in range(2))
        groups = [{"params": [p], "random_sparse.generator": seeded(5)} for p in (x, y)]
        optim = ParamTransformingOptimizer(groups, lr=0.1, transforms=[T.random_sparse(q=0.5)])
        x.grad, y.grad = torch.ones(50), torch.ones(50)
        optim.step()
        assert torch.equal(x, y)


class Reordered(nn.Module):
    """The layers of `network`, registered in another order, under the same names."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        for name in ("body", "stem", "head"):
            self.add_module(name, copy.deepcopy(model.get_submodule(name)))


BUILDS: dict[str, Any] = {
    "chain": lambda m: ParamTransformingOptimizer(
        m, Adam, lr=0.1, transforms=[T.momentum(), T.l2_norm()]
    ),
    "muon": lambda m: recipes.build("muon", m),
    "lars": lambda m: recipes.build("lars", m.named_parameters()),
    "added": lambda m: _with_an_added_group(m),
}


def _with_an_added_group(model: nn.Module) -> Any:
    first, *others = sorted(model.named_parameters())
    optim = ParamTransformingOptimizer([first], Adam, lr=0.1, transforms=[T.momentum()])
    optim.add_param_group({"params": others, "lr": 0.3, "momentum.decay": 0.5})
    return optim


class TestByName:
    @pytest.mark.parametrize("name", BUILDS)
    def test_another_order_of_registration_loads_right(self, name: str):
        (model, optim), (other, twin) = trained_and_reordered(name)
        twin.load_state_dict(through_a_file(optim.state_dict()))
        go_on_alike((model, optim), (other, twin))

    @pytest.mark.parametrize("flat", [False, True])
    @pytest.mark.parametrize("name", ["chain", "muon", "lars"])
    def test_distributed_checkpoints_too(self, name: str, flat: bool):
        options = StateDictOptions(flatten_optimizer_state_dict=flat)
        (model, optim), (other, twin) = trained_and_reordered(name)
        saved = get_optimizer_state_dict(model, optim, options=options)
        set_optimizer_state_dict(other, twin, copy.deepcopy(saved), options=options)
        go_on_alike((model, optim), (other, twin))

    def test_other_names_are_refused(self):
        optim = BUILDS["chain"](network())
        layers = {"stem": nn.Linear(3, 3), "body": nn.Linear(3, 4)}
        smaller = nn.Sequential(OrderedDict(layers))
        with pytest.raises(ValueError, match=r"other parameters.*\['head.bias', 'head.weight'\]"):
            BUILDS["chain"](smaller).load_state_dict(optim.state_dict())

    def test_none_in_common_loads_by_order_as_torch_does(self):
        model = network()
        optim = BUILDS["chain"](model)
        step(optim, model.parameters())
        wrapped = nn.ModuleDict({"module": copy.deepcopy(model)})
        twin = BUILDS["chain"](wrapped)
        twin.load_state_dict(optim.state_dict())
        p, q = next(model.parameters()), next(wrapped.parameters())
        assert torch.equal(optim.state[p]["exp_avg"], twin.state[q]["exp_avg"])


def trained_and_reordered(name: str) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """A trained model and its optimizer; the same in another order, with a new optimizer."""
    model = network()
    other = Reordered(model)
    optim, twin = BUILDS[name](model), BUILDS[name](other)
    for count in range(3):
        give_by_name(model, count)
        optim.step()
    other.load_state_dict(model.state_dict())
    return (model, optim), (other, twin)


def go_on_alike(first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
    for count in range(3, 6):
        for model, optim in (first, second):
            give_by_name(model, count)
            optim.step()
    for key, value in first[0].state_dict().items():
        assert torch.equal(value, second[0].state_dict()[key]), key


def give_by_name(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _, p in sorted(model.named_parameters()):
        p.grad = torch.randn(p.shape, generator=generator)


class TestOrder:
    def test_of_links_is_checked(self):
        x = [torch.zeros(2)]
        saved = ParamTransformingOptimizer(x, transforms=[T.sign(), T.l2_norm()]).state_dict()
        other = ParamTransformingOptimizer(x, transforms=[T.l2_norm(), T.sign()])
        with pytest.raises(ValueError, match=r"another order: sign, l2_norm, .* l2_norm, sign"):
            other.load_state_dict(saved)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
class TestStateDtype:
    def test_averages_do_not_stall(self, dtype: torch.dtype):
        """A bfloat16 average of decay 0.999 stands still; in float32 it arrives."""
        x = torch.zeros(4, dtype=dtype, requires_grad=True)
        optim = ParamTransformingOptimizer([x], lr=0.0, transforms=[T.ema(decay=0.999)])
        for _ in range(5000):
            x.grad = torch.ones_like(x)
            optim.step()
        average = optim.state[x]["ema"]["average"]
        assert average.dtype == torch.float32
        torch.testing.assert_close(average, torch.ones(4), atol=0.01, rtol=0)

    def test_adam_steps_as_in_float32(self, dtype: torch.dtype):
        """Squares of 1e-4 vanish in float16, where a step was 25 times too far."""
        x = torch.zeros(4, dtype=dtype, requires_grad=True)
        optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[T.adam()])
        for _ in range(5):
            x.grad = torch.full_like(x, 1e-4)
            optim.step()
            torch.testing.assert_close(x.grad, torch.ones_like(x), atol=0.01, rtol=0)

    @pytest.mark.parametrize("routed", [False, True])
    def test_survives_a_load_to_the_bit(self, dtype: torch.dtype, routed: bool):
        def build(x: Tensor) -> Any:
            if routed:
                return RoutedOptimizer([("x", x)], {"all": Route(transforms=[T.adam()], lr=0.1)})
            return ParamTransformingOptimizer([("x", x)], transforms=[T.adam()], lr=0.1)

        x = torch.ones(3, dtype=dtype, requires_grad=True)
        optim = build(x)
        step(optim, [x], 0, 3)
        y = x.detach().clone().requires_grad_()
        twin = build(y)
        twin.load_state_dict(through_a_file(optim.state_dict()))
        for key in ("first", "second"):
            held = twin.state[y]["adam"][key]
            assert held.dtype == torch.float32
            assert torch.equal(held, optim.state[x]["adam"][key])

    def test_may_be_chosen(self, dtype: torch.dtype):
        x = torch.ones(3, dtype=dtype, requires_grad=True)
        for chosen, held in (("param", dtype), ("bfloat16", torch.bfloat16), (None, torch.float32)):
            link = T.momentum(state_dtype=chosen)
            optim = ParamTransformingOptimizer([x], transforms=[link], lr=0.1)
            step(optim, [x])
            assert optim.state[x]["momentum"]["buffer"].dtype == held


@pytest.mark.parametrize("name", [n for n in transforms.names() if transforms.get(n).state])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_state_is_kept_as_of_float32(name: str, dtype: torch.dtype):
    """The buffers of a half-precision parameter are those of a float32 one with its gradients."""
    made = transforms.get(name)
    resources = [k for k, s in made.settings.items() if s.is_resource]

    def buffers(params: list[Tensor]) -> list[Tensor]:
        own: dict[str, Any] = {k: seeded() for k in resources}
        optim = ParamTransformingOptimizer(params, lr=0.0, transforms=[made(**own)])
        step_alike(optim, params, dtype)
        return [b for p in params for b in optim.state[p][name].values() if b.ndim]

    narrow = [torch.ones(2, 3, dtype=dtype), torch.ones(3, dtype=dtype)]
    wide = [p.float() for p in narrow]
    for a, b in zip(buffers(narrow), buffers(wide), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b)


def step_alike(optimizer: Any, params: list[Tensor], dtype: torch.dtype) -> None:
    for i in range(3):
        for p in params:
            generator = torch.Generator().manual_seed(i)
            p.grad = torch.randn(p.shape, generator=generator).to(dtype).to(p.dtype)
        optimizer.step()


def test_wrong_state_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"`state_dtype` of `ema` must be None .* got 'int32'"):
        T.ema(state_dtype="int32")
    with pytest.raises(TypeError, match="`sign` keeps no state: no `state_dtype`"):
        T.sign(state_dtype="float32")


class TestLeaks:
    def size(self, optimizer: Any) -> tuple[int, int]:
        """How many plans there are, and what the optimizer itself holds, to some bytes."""
        plans = sum(map(len, optimizer._chain.buckets.plans.values()))
        return plans, len(pickle.dumps(optimizer))

    def test_loads_leave_nothing(self):
        model = network()
        optim = BUILDS["chain"](model)
        step(optim, model.parameters())
        state = copy.deepcopy(optim.state_dict())
        sizes = []
        for _ in range(5):
            optim.load_state_dict(state)
            step(optim, model.parameters())
            sizes.append(self.size(optim))
        assert sizes[1:] == sizes[:1] * 4

    def test_groups_that_go_leave_nothing(self):
        x = torch.ones(2, requires_grad=True)
        links = [T.top_q(q=linear(0.0, 0.5, steps=5)), T.l2_norm()]
        optim = ParamTransformingOptimizer([x], SGD, lr=0.1, transforms=links)
        counts = []
        gc.freeze()  # so that a collection looks at what comes from here on alone
        for i in range(40):
            added = torch.ones(3 + i % 2, requires_grad=True)
            optim.add_param_group({"params": [added]})
            step(optim, [x, added])
            del optim.param_groups[-1], added
            gc.collect()
            counts.append(self.size(optim))
        gc.unfreeze()
        assert max(plans for plans, _ in counts) <= 4 * buckets.KEPT
        assert counts[-1][1] - counts[20][1] < 100


class Resumed(NamedTuple):
    """How an optimizer is saved and loaded."""

    way: str
    named: bool
    routed: bool
    scheduled: bool
    assigned: bool
    turned: bool
    """Whether its groups are loaded in another order."""

    def build(self, model: nn.Module, seed: int, turned: bool = False) -> Any:
        """Two groups or routes, each with its schedule and its generator."""
        layers = [*enumerate(("stem", "body", "head"))]
        layers = layers[::-1] if turned else layers
        rates = [linear(0.1 * (i + 1), 0.0, steps=9) if self.scheduled else 0.1 for i, _ in layers]
        seeds = {layer: seeded(10 * seed + i) for i, layer in layers}
        if self.routed:
            routes = {
                layer: Route(f"{layer}.*", lr=rate, transforms=links(seeds[layer]))
                for rate, (_, layer) in zip(rates, layers, strict=True)
            }
            return RoutedOptimizer(model.named_parameters(), routes, inner=Adam)
        named = dict(sorted(model.named_parameters()))
        groups = [
            {
                "params": [(n, p) if self.named else p for n, p in named.items() if layer in n],
                "random_sparse.generator": seeds[layer],
                "lr": rate,
            }
            for rate, (_, layer) in zip(rates, layers, strict=True)
        ]
        return ParamTransformingOptimizer(groups, Adam, transforms=links(None))

    def load(self, first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
        """Bring an optimizer of a model to where another is."""
        if self.way == "file":
            second[1].load_state_dict(through_a_file(first[1].state_dict()))
            return
        options = StateDictOptions(flatten_optimizer_state_dict=self.way == "flat")
        saved = through_a_file(get_optimizer_state_dict(*first, options=options))
        set_optimizer_state_dict(*second, saved, options=options)


def links(generator: Any) -> list[Any]:
    return [T.momentum(decay=0.5), T.random_sparse(q=0.5, generator=generator), T.sign()]


@settings(max_examples=60)
@given(
    st.builds(
        Resumed,
        way=st.sampled_from(["file", "dcp", "flat"]),
        named=st.booleans(),
        routed=st.booleans(),
        scheduled=st.booleans(),
        assigned=st.booleans(),
        turned=st.booleans(),
    )
)
def test_what_is_resumed_is_as_what_went_on(case: Resumed):
    """To the bit, however the state travels, with schedules, assigned numbers and generators."""
    turned = case.turned and (case.named or case.routed or case.way != "file")
    model = network()
    optim = case.build(model, 1)
    for count in range(3):
        give_by_name(model, count)
        optim.step()
    if case.assigned:
        optim.param_groups[1]["lr"] = 0.07
    other = copy.deepcopy(model)
    twin = case.build(other, 2, turned)
    case.load((model, optim), (other, twin))
    go_on_alike((model, optim), (other, twin))


def test_names_that_stand_in_two_groups_load_by_position():
    """As torch's own do; the names of two models, say."""
    layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
    groups = [{"params": layer.named_parameters()} for layer in layers]
    optim = ParamTransformingOptimizer(groups, Adam, lr=0.1)
    params = [p for layer in layers for p in layer.parameters()]
    step(optim, params)
    before = [optim.state[p]["exp_avg"].clone() for p in params]
    optim.load_state_dict(copy.deepcopy(optim.state_dict()))
    after = [optim.state[p]["exp_avg"] for p in params]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("routed", [False, True])
def test_buffers_are_kept_in_the_dtype_of_the_link(routed: bool):
    def build(x: Tensor, dtype: str) -> Any:
        chain = [T.adam(state_dtype=dtype)]
        if routed:
            return RoutedOptimizer([("x", x)], {"all": Route(transforms=chain, lr=0.1)})
        return ParamTransformingOptimizer([x], transforms=chain, lr=0.1)

    x = torch.ones(3, requires_grad=True)
    narrow, wide = build(x, "bfloat16"), build(x, "float64")
    step(narrow, [x])
    state = narrow.state_dict()
    wide.load_state_dict(state)
    held = {key: buffer.dtype for key, buffer in wide.state[x]["adam"].items()}
    assert held == {"first": torch.float64, "second": torch.float64, "step": torch.float32}
    assert state["state"][0]["adam"]["first"].dtype == torch.bfloat16


@pytest.mark.parametrize("routed", [False, True])
class TestHooks:
    """Hooks see what is returned, and what was given: as on torch's own."""

    def build(self, routed: bool, route: str = "all") -> Any:
        x = torch.ones(3, requires_grad=True)
        chain = [T.random_sparse(generator=seeded())]
        fall = linear(0.1, 0.0, steps=9)
        if routed:
            return RoutedOptimizer([("x", x)], {route: Route(transforms=chain, lr=fall)})
        return ParamTransformingOptimizer([("x", x)], transforms=chain, lr=fall)

    def test_of_saving_see_what_is_returned(self, routed: bool):
        optim, seen = self.build(routed), []
        optim.register_state_dict_pre_hook(lambda _: seen.append("before"))
        optim.register_state_dict_post_hook(
            lambda _, state: seen.append(copy.deepcopy(state["param_groups"][0]))
        )
        returned = optim.state_dict()["param_groups"][0]
        assert seen[0] == "before"
        assert len(seen) == 2
        assert seen[1]["links"] == returned["links"] == "random_sparse"
        assert isinstance(seen[1]["random_sparse.generator"], Tensor)
        assert seen[1]["schedules"] == returned["schedules"] == ["lr"]

    def test_of_loading_see_what_was_given(self, routed: bool):
        saved = self.build(routed, "old").state_dict()
        saved["param_groups"][0]["links"] = "old"
        optim, order = self.build(routed), []

        def renamed(_: Any, state: dict[str, Any]) -> dict[str, Any]:
            order.append(state["param_groups"][0]["links"])
            groups = [{**g, "links": "random_sparse"} for g in state["param_groups"]]
            groups = [{**g, "route": "all"} for g in groups] if routed else groups
            return {**state, "param_groups": groups}

        optim.register_load_state_dict_pre_hook(renamed)
        optim.register_load_state_dict_post_hook(
            lambda o: order.append(o.param_groups[0]["schedule_step"])
        )
        optim.load_state_dict(saved)
        assert order == ["old", 0]


def test_a_partial_keeps_its_names():
    optim = ParamTransformingOptimizer(network(), partial(SGD, lr=0.1), transforms=[T.sign()])
    names = [f"{layer}.{key}" for layer in ("stem", "body", "head") for key in ("weight", "bias")]
    assert optim.state_dict()["param_groups"][0]["param_names"] == names
