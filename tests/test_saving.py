"""What is saved goes on: by name, in order, with generators, buffers in their own dtype."""

import copy
import gc
import io
import pickle
from collections import OrderedDict
from functools import partial
from typing import Any

import pytest
import torch
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
        with pytest.raises(ValueError, match=r"has \['top_q.generator'\]"):
            other.load_state_dict(saved)


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
        for i in range(40):
            added = torch.ones(3 + i % 2, requires_grad=True)
            optim.add_param_group({"params": [added]})
            step(optim, [x, added])
            del optim.param_groups[-1], added
            gc.collect()
            counts.append(self.size(optim))
        assert max(plans for plans, _ in counts) <= 4 * buckets.KEPT
        assert counts[-1][1] - counts[20][1] < 100


def test_a_partial_keeps_its_names():
    optim = ParamTransformingOptimizer(network(), partial(SGD, lr=0.1), transforms=[T.sign()])
    names = [f"{layer}.{key}" for layer in ("stem", "body", "head") for key in ("weight", "bias")]
    assert optim.state_dict()["param_groups"][0]["param_names"] == names
