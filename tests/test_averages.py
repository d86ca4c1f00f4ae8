"""`averages` gives the averages of parameters that links keep, wherever these stand."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from xformopt import ParamTransformingOptimizer, recipes, transform
from xformopt import transforms as T
from xformopt.optim import Route, RoutedOptimizer, averages
from xformopt.transforms import remove


def step(optim: Any, params: list[Tensor], count: int = 3) -> list[list[Tensor]]:
    """Make steps; return all values of each parameter."""
    seen: list[list[Tensor]] = [[] for _ in params]
    for i in range(count):
        generator = torch.Generator().manual_seed(i)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optim.step()
        for p, values in zip(params, seen, strict=True):
            values.append(p.detach().clone())
    return seen


def weighted(values: list[Tensor], decay: float) -> Tensor:
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    terms = [weight * value for weight, value in zip(weights, values, strict=True)]
    return torch.stack(terms).sum(dim=0) / sum(weights)


def test_the_mean_of_all_so_far():
    params = [torch.ones(3, 2), torch.ones(4)]
    optim = ParamTransformingOptimizer(params, Adam, transforms=[T.param_ema(decay=0.5)], lr=0.1)
    assert averages(optim) == {"param_ema": {}}
    seen = step(optim, params)
    found = averages(optim)["param_ema"]
    for p, values in zip(params, seen, strict=True):
        torch.testing.assert_close(found[p], weighted(values, 0.5))
        assert found[p] is optim.state[p]["param_ema"]["average"]


def test_by_the_name_of_the_link():
    x = [torch.ones(3)]
    links = {"slow": T.param_ema(decay=0.9), "fast": T.param_ema(decay=0.1), "sign": T.sign()}
    optim = ParamTransformingOptimizer(x, transforms=links, lr=0.1)
    (seen,) = step(optim, x)
    assert [*averages(optim)] == ["slow", "fast"]
    torch.testing.assert_close(averages(optim)["fast"][x[0]], weighted(seen, 0.1))


def test_slow_weights_are_an_average():
    x = [torch.ones(3)]
    optim = ParamTransformingOptimizer(x, transforms=[T.lookahead(every=2)], lr=0.1)
    (seen,) = step(optim, x, 3)
    torch.testing.assert_close(averages(optim)["lookahead"][x[0]], seen[1])


def test_parameters_without_state_are_left_out():
    params = [torch.ones(3), torch.ones(2)]
    links = [T.lookahead(), T.sign()]
    optim = ParamTransformingOptimizer(params, transforms=links, lr=0.1)
    optim.state[params[0]]["lookahead"] = {"slow": torch.ones(3), "step": torch.tensor(0.0)}
    assert averages(optim) == {"lookahead": {}}
    step(optim, params)
    late = torch.ones(5)
    optim.add_param_group({"params": [late]})
    assert averages(optim)["lookahead"].keys() == {*params}


def test_routes_are_merged():
    layer, links = nn.Linear(3, 2), [T.param_ema()]
    routes = {
        "weight": Route("weight", inner=Adam, transforms=links),
        "bias": Route("bias", transforms={"param_ema": T.param_ema(decay=0.0), "x": T.sign()}),
    }
    optim = RoutedOptimizer(layer, routes, inner=SGD, lr=0.1)
    step(optim, [*layer.parameters()])
    found = averages(optim)["param_ema"]
    assert found.keys() == {*layer.parameters()}
    assert torch.equal(found[layer.bias], layer.bias)


def test_others_have_none():
    x = [torch.ones(3)]
    assert averages(Adam(x)) == {}
    assert averages(ParamTransformingOptimizer(x, transforms=[T.ema(), T.sign()], lr=1.0)) == {}
    assert [*averages(recipes.build("lookahead_adam", x))] == ["lookahead"]


@pytest.mark.parametrize(("kept", "dtype"), [(None, torch.float32), ("param", torch.bfloat16)])
def test_in_the_dtype_of_the_state(kept: Any, dtype: torch.dtype):
    x = [torch.ones(3, dtype=torch.bfloat16)]
    optim = ParamTransformingOptimizer(x, transforms=[T.param_ema(state_dtype=kept)], lr=0.1)
    step(optim, x)
    assert averages(optim)["param_ema"][x[0]].dtype == dtype


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_of_compiled_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    x = [torch.ones(3)]
    build = partial(ParamTransformingOptimizer, transforms=[T.param_ema(decay=0.5)], lr=0.1)
    optim = build(x, compile=True)
    (seen,) = step(optim, x)
    torch.testing.assert_close(averages(optim)["param_ema"][x[0]], weighted(seen, 0.5))
    torch._dynamo.reset()


def test_of_a_loaded_state():
    x, y = [torch.ones(3)], [torch.ones(3)]
    build = partial(ParamTransformingOptimizer, transforms=[T.param_ema()], lr=0.1)
    optim, twin = build(x), build(y)
    step(optim, x)
    twin.load_state_dict(optim.state_dict())
    assert torch.equal(averages(twin)["param_ema"][y[0]], averages(optim)["param_ema"][x[0]])


def test_what_is_declared_is_an_average_of_the_parameter():
    """Of a parameter that does not move it is the parameter, for every link that says so."""
    declared = [name for name in T.names() if T.get(name).averages]
    assert declared == ["lookahead", "param_ema"]
    for name in declared:
        x = [torch.tensor([[1.0, -2.0]])]
        optim = ParamTransformingOptimizer(x, transforms=[T.get(name)()], lr=0.0)
        step(optim, x, 7)
        torch.testing.assert_close(averages(optim)[name][x[0]], x[0])


def test_a_transform_of_ones_own_may_keep_one():
    @transform(state=("mean",), averages="mean")
    def throwaway_last(param: Tensor, mean: Tensor) -> None:
        mean.copy_(param)

    x = [torch.ones(3)]
    optim = ParamTransformingOptimizer(x, transforms=[throwaway_last()], lr=0.1)
    step(optim, x)
    assert torch.equal(averages(optim)["throwaway_last"][x[0]], x[0])
    remove("throwaway_last")
    with pytest.raises(ValueError, match="`averages` of `throwaway_none` must be"):

        @transform(state=("mean",), averages="means")
        def throwaway_none(param: Tensor, mean: Tensor) -> None:
            mean.copy_(param)
