"""Every inner optimizer that can be imported steps inside ours as it does by itself."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import pytorch_optimizer
import schedulefree
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.optim import FrankWolfe, inner_optimizers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
Build = Callable[[list[Tensor]], Optimizer]


def candidates() -> Iterator[tuple[str, Any]]:
    """Those of torch, of pytorch_optimizer and of schedulefree, and ours."""
    for cls in (*inner_optimizers().values(), FrankWolfe):
        yield f"torch.{cls.__name__}", partial(cls, lr=1e-2)
    for name in sorted(pytorch_optimizer.get_supported_optimizers()):
        yield f"pytorch_optimizer.{name}", pytorch_optimizer.load_optimizer(name)
    for name, cls in vars(schedulefree).items():
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and "Wrapper" not in name:
            yield f"schedulefree.{name}", cls


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (3,), (2, 3, 2, 2)]
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


def steps(optimizer: Any, params: list[Tensor], count: int = 5) -> Tensor:
    """Make steps that draw what they draw from one seed; return all parameters."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    getattr(optimizer, "train", lambda: None)()
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


def runs(build: Any) -> bool:
    """Whether an optimizer runs on its defaults and our gradients, with nothing of ours around."""
    params = parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(steps(build(params), params).isfinite().all())
        except Exception:
            return False


INNERS = {name: build for name, build in candidates() if runs(build)}


INEXACT = {"pytorch_optimizer.kron"}
"""Those whose last bit depends on where memory lies, with nothing of ours around too."""


def test_most_are_there():
    assert len(INNERS) > 80
    assert {"torch.Adam", "torch.SGD", "schedulefree.AdamWScheduleFree"} <= INNERS.keys()


@pytest.mark.parametrize("name", INNERS)
@pytest.mark.filterwarnings("ignore")
def test_steps_as_it_does_by_itself(name: str):
    bare, wrapped, copied = parameters(), parameters(), parameters()
    expected = steps(INNERS[name](bare), bare, 7)
    optim = ParamTransformingOptimizer(wrapped, INNERS[name])
    off = 1e-6 if name in INEXACT else 0
    torch.testing.assert_close(steps(optim, wrapped, 7), expected, rtol=off, atol=off)
    twin = ParamTransformingOptimizer(copied, INNERS[name], transforms=[T.clip_norm(max_norm=1e9)])
    torch.testing.assert_close(steps(twin, copied, 7), expected)


COUNTS_IN_GROUPS = [
    "adabelief", "adan", "ademamix", "adopt", "lamb", "lion", "radam", "prodigy", "ranger",
]  # fmt: skip


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tracer of torch's compiler, without the part that generates code."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    torch._dynamo.reset()


def compiled_and_bare(name: str) -> tuple[Tensor, Tensor, list[str]]:
    bare, wrapped = parameters(), parameters()
    expected = steps(INNERS[name](bare), bare)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optim = ParamTransformingOptimizer(wrapped, INNERS[name], compile=True)
        return steps(optim, wrapped), expected, [str(w.message) for w in caught]


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("name", [*COUNTS_IN_GROUPS, "AdamWScheduleFree"])
def test_counters_in_groups_are_not_compiled(name: str):
    package = "schedulefree" if name[0].isupper() else "pytorch_optimizer"
    got, expected, said = compiled_and_bare(f"{package}.{name}")
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
    assert sum("counts in its parameter groups (`" in line for line in said) <= 1


@pytest.mark.usefixtures("_eager")
def test_counters_in_groups_are_told_in_one_line():
    params = parameters()
    optim = ParamTransformingOptimizer(params, schedulefree.AdamWScheduleFree, compile=True)
    with pytest.warns(
        RuntimeWarning, match=r"AdamWScheduleFree counts in its parameter groups \(`k"
    ):
        steps(optim, params, 3)
    assert optim.param_groups[0]["k"] == 3


@pytest.mark.long
@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("name", INNERS)
def test_compiled_steps_as_it_does_by_itself(name: str):
    got, expected, _ = compiled_and_bare(name)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


class TestHooks:
    """Global hooks are called once a step; those of the inner optimizer go on being called."""

    @pytest.fixture
    def seen(self) -> Iterator[list[str]]:
        calls: list[str] = []
        handles = [
            register_optimizer_step_pre_hook(
                lambda optim, args, kwargs: calls.append(f"before {type(optim).__name__}")
            ),
            register_optimizer_step_post_hook(
                lambda optim, args, kwargs: calls.append(f"after {type(optim).__name__}")
            ),
        ]
        yield calls
        for handle in handles:
            handle.remove()

    @pytest.mark.parametrize("InnerOpt", [SGD, Adam, FrankWolfe])
    def test_global_ones_once(self, InnerOpt: Any, seen: list[str]):
        params = parameters()
        optim = ParamTransformingOptimizer(params, InnerOpt, transforms=[T.sign()], lr=0.1)
        steps(optim, params, 2)
        names = ["before ParamTransformingOptimizer", "after ParamTransformingOptimizer"]
        assert seen == names * 2

    def test_global_ones_once_around_routes(self, seen: list[str]):
        from xformopt import recipes

        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        optim = recipes.build("muon", model.named_parameters())
        steps(optim, list(model.parameters()), 1)
        assert seen == ["before RoutedOptimizer", "after RoutedOptimizer"]

    def test_those_of_the_inner_optimizer(self):
        params = parameters()
        optim = ParamTransformingOptimizer(params, SGD, lr=0.1)
        calls: list[str] = []
        optim.inner_opt.register_step_pre_hook(lambda *_: calls.append("before"))
        optim.inner_opt.register_step_post_hook(lambda *_: calls.append("after"))
        steps(optim, params, 1)
        assert calls == ["before", "after"]


def test_what_is_counted_in_groups_is_saved():
    params, others = parameters(), parameters()
    inner = INNERS["schedulefree.AdamWScheduleFree"]
    optim = ParamTransformingOptimizer(params, inner)
    steps(optim, params, 3)
    twin = ParamTransformingOptimizer(others, inner)
    twin.load_state_dict(copy.deepcopy(optim.state_dict()))
    assert twin.param_groups[0]["k"] == 3


def test_an_inner_optimizer_with_hooks_is_not_compiled():
    x, calls = torch.zeros(2, requires_grad=True), []
    optim = ParamTransformingOptimizer([x], SGD, lr=0.1, compile=True)
    optim.inner_opt.register_step_post_hook(lambda *_: calls.append(x.clone()))
    x.grad = torch.ones(2)
    optim.step()
    with pytest.warns(RuntimeWarning, match="SGD has step hooks, which a program would not call; "):
        optim.step()
    optim.step()
    assert [round(x[0].item(), 4) for x in calls] == [-0.1, -0.2, -0.3]
