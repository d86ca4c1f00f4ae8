"""`torch.compile(optimizer.step, fullgraph=True)`: one graph, the same numbers, few recompiles."""

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend
from torch.optim import SGD, Adam

from xformopt import ParamTransformingOptimizer, testing, transforms
from xformopt import transforms as T
from xformopt.optim import FrankWolfe
from xformopt.schedules import linear
from xformopt.transforms import Link

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Dynamo detected a call"),
]
Change = Callable[[ParamTransformingOptimizer, int], None]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def steps(
    links: list[Link],
    InnerOpt: Any,
    lr: Any,
    change: Change = lambda optim, step: None,
    dynamic: bool | None = None,
) -> list[int]:
    """Make six steps, all but the first compiled, checked; return the graphs made by then."""
    counter = CompileCounter()
    compiled, eager = ([torch.randn(4, 3), torch.randn(3)] for _ in range(2))
    for a, b in zip(compiled, eager, strict=True):
        b.copy_(a).requires_grad_()
        a.requires_grad_()
    settings: dict[str, Any] = {"transforms": links, "lr": lr, "strict_ndim": False}
    optim = ParamTransformingOptimizer(compiled, InnerOpt, **settings)
    twin = ParamTransformingOptimizer(eager, InnerOpt, **settings)
    step: Any = torch.compile(optim.step, backend=counter, fullgraph=True, dynamic=dynamic)
    graphs = []
    for i in range(6):
        gradients = [torch.randn_like(p) for p in compiled]
        for params in (compiled, eager):
            give(params, gradients)
        change(optim, i)
        change(twin, i)
        (step if i else optim.step)()
        twin.step()
        graphs.append(counter.frame_count)
    for a, b in zip(compiled, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    return graphs


def give(params: list[Tensor], gradients: list[Tensor]) -> None:
    for p, gradient in zip(params, gradients, strict=True):
        p.grad = gradient.clone()


@pytest.mark.parametrize("name", transforms.names())
def test_every_transform_in_one_graph(name: str):
    made = transforms.get(name)
    calm: dict[str, dict[str, Any]] = {
        "gradient_noise": {"variance": 0.0}, "random_sparse": {"q": 0.0},
    }  # fmt: skip
    settings = calm.get(name, {})
    assert steps([made(**settings)], SGD, 0.1)[-1] == 1


@pytest.mark.parametrize("links", [[T.sign()], [T.momentum(), T.l2_norm(), T.l2_ball()]])
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["float", "tensor"])
@pytest.mark.parametrize("InnerOpt", [SGD, Adam])
def test_around_sgd_and_adam(InnerOpt: Any, lr: Any, links: list[Link]):
    assert steps(links, InnerOpt, lr)[-1] == 1


class TestRecompiles:
    """By hand; with the part of torch's compiler that makes constants of floats."""

    @pytest.fixture(autouse=True)
    def _whole_compiler(self, monkeypatch: Any) -> None:
        count = partial(CompileCounterWithBackend, "aot_eager")
        monkeypatch.setattr("test_compile.CompileCounter", count)

    def test_never_by_a_tensor_lr(self):
        def change(optim: ParamTransformingOptimizer, step: int) -> None:
            optim.param_groups[0]["lr"].fill_(0.1 / (step + 1))

        for InnerOpt in (SGD, Adam):
            graphs = steps([T.sign()], InnerOpt, torch.tensor(0.1), change)
            assert graphs[1:] == graphs[1:2] * 5

    @pytest.mark.parametrize("link", [T.l2_ball, T.linf_ball])
    def test_never_by_a_scheduled_setting(self, link: Any):
        links = [link(radius=linear(1.0, 0.1, steps=5))]
        graphs = steps(links, SGD, 0.1, dynamic=True)
        assert graphs[1:] == graphs[1:2] * 5


@pytest.mark.parametrize("InnerOpt", [SGD, Adam])
def test_groups_with_schedules_stay_as_they_were(InnerOpt: Any):
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.ones(3)
    links = [T.l2_ball(radius=linear(1.0, 0.1, steps=5))]
    optim = ParamTransformingOptimizer([x], InnerOpt, lr=0.1, transforms=links)
    (group,) = optim.param_groups
    before = dict(group)
    step: Any = torch.compile(optim.step, backend="eager", fullgraph=True)
    for count in range(1, 4):
        step()
        changed = {"schedule_step": count, "l2_ball.radius": linear(1.0, 0.1, steps=5)(count - 1)}
        assert group == before | changed
    optim.step()


def test_buffers_must_be_there():
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.ones(3)
    optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[T.momentum()])
    step: Any = torch.compile(optim.step, backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="links that keep state need one step before"):
        step()


def test_random_ones_draw_in_the_graph():
    assert testing.is_random(T.gradient_noise)
    x = torch.zeros(1000, requires_grad=True)
    x.grad = torch.zeros(1000)
    optim = ParamTransformingOptimizer(
        [x], lr=1.0, transforms=[T.gradient_noise(variance=1.0, decay=0.0)], param_ndim=None
    )
    optim.step()
    before = x.detach().clone()
    x.grad.zero_()
    step: Any = torch.compile(optim.step, backend="eager", fullgraph=True)
    step()
    assert (x - before).std().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("shape", [(4, 1), (4, 3)])
def test_settings_may_be_tensors(shape: tuple[int, int]):
    bound = torch.linspace(0.1, 0.5, shape[0] * shape[1]).view(shape)
    held = torch.zeros(4, 3).requires_grad_()
    optim = ParamTransformingOptimizer([held], transforms=[T.box(min=-bound, max=bound)], lr=0.3)
    counter = CompileCounter()
    step: Any = torch.compile(optim.step, backend=counter, fullgraph=True)
    for _ in range(3):
        held.grad = -torch.ones_like(held)
        step()
    assert torch.equal(held.detach(), bound.expand(4, 3))
    assert counter.frame_count == 1


class TestOption:
    """`compile=True`: all steps but the first are one program."""

    @pytest.fixture
    def counter(self, monkeypatch: Any) -> CompileCounter:
        counter, compile = CompileCounter(), torch.compile
        monkeypatch.setattr(torch, "compile", lambda f, **how: compile(f, backend=counter, **how))
        return counter

    @pytest.fixture
    def programs(self, monkeypatch: Any) -> Callable[[], int]:
        """Compile with the part of torch's compiler that makes constants of floats; count."""
        compile = torch.compile
        monkeypatch.setattr(
            torch, "compile", lambda f, **how: compile(f, backend="aot_eager", **how)
        )
        counters = torch._dynamo.utils.counters
        counters.clear()
        return lambda: counters["stats"]["unique_graphs"]

    @staticmethod
    def both(links: list[Link], InnerOpt: Any = SGD, count: int = 4) -> ParamTransformingOptimizer:
        """Step with and without the option, checked; return the optimizer with it."""
        ours, theirs = ([torch.ones(4, 3), torch.ones(3)] for _ in range(2))
        settings: dict[str, Any] = {"transforms": links, "lr": 0.1, "strict_ndim": False}
        optim = ParamTransformingOptimizer(
            [p.requires_grad_() for p in ours], InnerOpt, compile=True, **settings
        )
        plain = ParamTransformingOptimizer(
            [p.requires_grad_() for p in theirs], InnerOpt, **settings
        )
        for _ in range(count):
            gradients = [torch.randn_like(p) for p in ours]
            for params, made in ((ours, optim), (theirs, plain)):
                give(params, gradients)
                made.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        return optim

    def test_with_the_real_compiler(self):
        self.both([T.adam(), T.weight_decay(), T.linf_ball()], Adam)

    def test_compiles_once(self, counter: CompileCounter):
        optim = self.both([T.momentum(), T.l2_norm()], count=1)
        assert counter.frame_count == 0
        for _ in range(3):
            give(optim.param_groups[0]["params"], [torch.ones(4, 3), torch.ones(3)])
            optim.step()
        assert counter.frame_count == 1

    @pytest.mark.parametrize(
        ("InnerOpt", "link", "key"),
        [(SGD, T.l2_ball, "radius"), (SGD, T.linf_ball, "radius"), (SGD, T.clip_norm, "max_norm"),
         (SGD, T.weight_decay, "weight"), (SGD, T.adam, "beta1"), (SGD, T.topq_ball, "q"),
         (Adam, T.weight_decay, "weight"), (Adam, T.l2_ball, "radius")],
    )  # fmt: skip
    def test_a_changed_lr_and_a_scheduled_setting_compile_nothing_again(
        self, programs: Callable[[], int], InnerOpt: Any, link: Any, key: str
    ):
        links = [T.momentum(), link(**{key: linear(0.9, 0.3, steps=9)})]

        def decay(optim: ParamTransformingOptimizer, step: int) -> None:
            optim.param_groups[0]["lr"] = 0.1 / (step + 1)

        optim = self.compared(links, InnerOpt, decay, count=12)
        assert programs() == 1
        assert optim.param_groups[0]["schedule_step"] == 12

    def test_a_number_that_starts_to_change_compiles_once_more(self, programs: Callable[[], int]):
        def cycle(optim: ParamTransformingOptimizer, step: int) -> None:
            if step > 4:
                optim.param_groups[0]["betas"] = (0.9 - step / 100, 0.99)

        self.compared([T.sign()], Adam, cycle, count=12)
        assert programs() == 2

    def test_a_number_that_no_fraction_stands_for(self, programs: Callable[[], int]):
        def jump(optim: ParamTransformingOptimizer, step: int) -> None:
            optim.param_groups[0]["linf_ball.radius"] = 0.5 if step % 3 else float("inf")

        self.compared([T.linf_ball()], SGD, jump, count=12)
        assert programs() <= 3

    @staticmethod
    def compared(
        links: list[Link], InnerOpt: Any, change: Change, count: int
    ) -> ParamTransformingOptimizer:
        """Step with and without the option while numbers change, checked."""
        ours, theirs = ([torch.ones(4, 3), torch.ones(3)] for _ in range(2))
        settings: dict[str, Any] = {"lr": 0.1, "transforms": links, "strict_ndim": False}
        optim, plain = (
            ParamTransformingOptimizer(
                [p.requires_grad_() for p in params], InnerOpt, compile=compiled, **settings
            )
            for params, compiled in ((ours, True), (theirs, False))
        )
        for step in range(count):
            gradients = [torch.randn_like(p) for p in ours]
            for params, made in ((ours, optim), (theirs, plain)):
                change(made, step)
                give(params, gradients)
                made.step()
            assert optim.param_groups[0].keys() == plain.param_groups[0].keys()
            assert optim.param_groups[0].get("capturable") in (False, None)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        return optim

    def test_for_many_optimizers(self, counter: CompileCounter):
        for _ in range(10):
            self.both([T.sign()], count=2)
        assert counter.frame_count == 10

    def test_an_added_parameter_gets_its_buffers(self, counter: CompileCounter):
        optim = self.both([T.momentum()], Adam)
        late = torch.ones(2, requires_grad=True)
        optim.add_param_group({"params": [late]})
        for _ in range(3):
            late.grad = torch.ones(2)
            optim.step()
        assert optim.state[late]["step"] == 3
        assert (optim.state[late]["momentum"]["buffer"] == 2.71).all()

    @pytest.mark.parametrize("InnerOpt", [SGD, FrankWolfe, partial(torch.optim.LBFGS, max_iter=1)])
    def test_closures_that_are_called_once(self, counter: CompileCounter, InnerOpt: Any):
        """Around these steps are a program; around others they are not, with a warning."""
        x = torch.ones(3, requires_grad=True)
        optim = ParamTransformingOptimizer(
            [x], InnerOpt, lr=0.5, transforms=[T.sign()], compile=True
        )
        calls = []

        def closure() -> Tensor:
            calls.append(torch.is_grad_enabled())
            optim.zero_grad()
            loss = x.square().sum()
            loss.backward()
            return loss

        once = isinstance(InnerOpt, type)
        said = pytest.warns(RuntimeWarning, match="LBFGS may call its closure more than once in a")
        with torch.no_grad(), nullcontext() if once else said:
            losses = [float(optim.step(closure)) for _ in range(3)]
        assert calls == [True] * 3
        assert losses[0] == 3.0
        if InnerOpt is SGD:
            assert losses == [3.0, 0.75, 0.0]
        assert counter.frame_count == once

    def test_what_cannot_be_compiled_goes_on_with_a_warning(self):
        def breaks(grad: Tensor) -> None:
            torch._dynamo.graph_break()
            grad.mul_(2)

        link = transforms.Transform(breaks)()
        with pytest.warns(RuntimeWarning, match="torch.compile failed, and steps go on without"):
            self.both([link])

    def test_copies_and_pickles(self, counter: CompileCounter):
        optim = self.both([T.sign()])
        for twin in (copy.deepcopy(optim), pickle.loads(pickle.dumps(optim))):
            params = twin.param_groups[0]["params"]
            for _ in range(2):
                give(params, [torch.ones(4, 3), torch.ones(3)])
                twin.step()
            assert twin.compile

    def test_takes_a_bool(self):
        wrong: Any = "yes"
        with pytest.raises(TypeError, match="`compile` must be true or false, got 'yes'"):
            ParamTransformingOptimizer([torch.ones(3)], lr=0.1, compile=wrong)
