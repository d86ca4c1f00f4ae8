"""The names of rai_toolbox run as links: over buckets, compiled, one by one where overridden."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.optim import SGD

from xformopt import optim as O
from xformopt.transforms import Transform

SETTINGS: dict[str, dict[str, Any]] = {
    "ClampedGradientOptimizer": {"clamp_max": 0.5},
    "ClampedParameterOptimizer": {"clamp_min": -0.5},
    "TopQGradientOptimizer": {"q": 0.5},
    "L1qNormedGradientOptim": {"q": 0.5},
    "L1qFrankWolfe": {"q": 0.5, "epsilon": 1.0},
    "ChainedParamTransformingOptimizer": {},
}
NAMES = [
    name
    for name, cls in vars(O).items()
    if isinstance(cls, type)
    and issubclass(cls, O.ParamTransformingOptimizer)
    and cls is not O.ParamTransformingOptimizer
]


def build(name: str, params: list[Tensor], base: Any = None, **own: Any) -> Any:
    cls: Any = base or getattr(O, name)
    settings = dict(SETTINGS.get(name, {}))
    if name.endswith(("Projected", "ProjectedOptim", "FrankWolfe")):
        settings.setdefault("epsilon", 1.0)
    if name == "ChainedParamTransformingOptimizer":
        parts = [partial(O.TopQGradientOptimizer, q=0.5), O.SignedGradientOptim]
        return cls(*parts, params=params, lr=0.1, **settings, **own)
    lr = {} if name.endswith("FrankWolfe") else {"lr": 0.1}
    return cls(params, **lr, **settings, **own)


def parameters(count: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(count)]


def step(optimizer: Any, params: list[Tensor], count: int = 3, call: Any = None) -> None:
    for i in range(count):
        generator = torch.Generator().manual_seed(i)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        (call if call and i else optimizer.step)()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the calls of transforms that go past the optimizer's buckets, one by one."""
    counts: list[int] = []
    from xformopt.optim import hooks

    original = hooks._Called.__call__

    def counting(self: Any, param: Tensor, optim_group: Any = None) -> None:
        counts.append(1)
        original(self, param, optim_group)

    monkeypatch.setattr(hooks._Called, "__call__", counting)
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_many_parameters_are_not_called_one_by_one(name: str, called: list[int]):
    params = parameters()
    step(build(name, params), params)
    assert not called


@pytest.mark.parametrize("name", NAMES)
def test_an_overridden_hook_is_called_and_may_call_ours(name: str, called: list[int]):
    """A subclass that only calls `super()` does what its base does, a parameter at a time."""
    cls: Any = getattr(O, name)

    class Own(cls):
        def _pre_step_transform_(self, param: Tensor, optim_group: Any) -> None:
            super()._pre_step_transform_(param, optim_group)

        def _post_step_transform_(self, param: Tensor, optim_group: Any) -> None:
            super()._post_step_transform_(param, optim_group)

    ours, theirs = parameters(), parameters()
    step(build(name, ours), ours)
    step(build(name, theirs, Own), theirs)
    assert called
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("base", [O.L1NormedGradientOptim, O.L2NormedGradientOptim])
def test_an_overridden_norm_is_used(base: Any):
    class Own(base):
        def per_datum_norm(self, x: Tensor) -> Tensor:
            return torch.full((len(x),), 4.0)

    x = torch.ones(2, 3, requires_grad=True)
    x.grad = torch.full((2, 3), 8.0)
    Own([x], lr=1.0).step()
    assert torch.equal(x.grad, torch.full((2, 3), 2.0))


def test_an_order_of_ones_own():
    class L3(O.L2NormedGradientOptim):
        _p = 3

    x = torch.ones(1, 2, requires_grad=True)
    x.grad = torch.tensor([[3.0, 4.0]])
    L3([x], lr=1.0).step()
    torch.testing.assert_close(x.grad, torch.tensor([[3.0, 4.0]]) / 91 ** (1 / 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call")
def test_compiles_to_one_graph(name: str):
    torch._dynamo.reset()
    counter = CompileCounter()
    ours, theirs = parameters(2), parameters(2)
    optim = build(name, ours)
    compiled: Any = torch.compile(optim.step, backend=counter, fullgraph=True)
    step(optim, ours, call=compiled)
    step(build(name, theirs), theirs)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    assert counter.frame_count >= 1
    torch._dynamo.reset()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call")
def test_takes_compile(name: str, monkeypatch: pytest.MonkeyPatch):
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    ours, theirs = parameters(2), parameters(2)
    step(build(name, ours, compile=True), ours, 4)
    step(build(name, theirs), theirs, 4)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_settings_follow_groups_and_schedules():
    from xformopt.schedules import linear

    x, y = parameters(2)
    groups = [{"params": [x]}, {"params": [y], "epsilon": linear(2.0, 0.0, steps=2)}]
    optim = O.L2ProjectedOptim(groups, SGD, epsilon=0.5, lr=100.0)
    for radius in (2.0, 1.0):
        step(optim, [x, y], 1)
        torch.testing.assert_close(x.detach().norm(dim=1), torch.full((4,), 0.5))
        torch.testing.assert_close(y.detach().norm(dim=1), torch.full((4,), radius))


def test_a_user_mixes_ours():
    """The hook of the first class in the order of resolution holds, as with methods."""

    class Mixed(O.SignedGradientOptim, O.L2ProjectedOptim):
        pass

    x = torch.ones(1, 2, requires_grad=True)
    x.grad = torch.tensor([[30.0, -0.5]])
    Mixed([x], epsilon=100.0, lr=1.0).step()
    assert x.grad.tolist() == [[1.0, -1.0]]
    assert issubclass(Mixed, O.ParamTransformingOptimizer)
    assert isinstance(O.SignedGradientOptim._pre_step_transform_.transform, Transform)


def test_frank_wolfe_says_what_its_groups_have():
    x = torch.zeros(2, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"`epsilon` of a group \(=5.0\) has no effect; the radius"
    ):
        O.LinfFrankWolfe([{"params": [x], "epsilon": 5.0}], epsilon=1.0)
    with pytest.raises(TypeError, match="L2FrankWolfe takes no `InnerOpt`: it steps by FrankWolfe"):
        O.L2FrankWolfe([x], epsilon=1.0, InnerOpt=SGD)
    with pytest.raises(ValueError, match="`lmo_scaling_factor` must be a finite number >= 0, got "):
        O.FrankWolfe([x], lmo_scaling_factor=-1.0)


def test_a_norm_that_is_put_on_an_optimizer():
    x = torch.zeros(1, 2, requires_grad=True)
    optim: Any = O.L2NormedGradientOptim([x], lr=1.0)
    optim.per_datum_norm = lambda rows: 2 * rows.norm(dim=1)
    x.grad = torch.tensor([[3.0, 4.0]])
    optim.step()
    torch.testing.assert_close(x.detach(), torch.tensor([[-0.3, -0.4]]))
