"""Links over buckets do what links over one parameter after the other do."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from xformopt import ParamTransformingOptimizer, testing, transform, transforms
from xformopt.optim import Route, RoutedOptimizer, plans
from xformopt.transforms import PerItem, Transform, precondition, registry, weights

BY_ITEM = [
    name
    for name in transforms.names()
    if transforms.get(name).scope == "item" and not testing.is_random(transforms.get(name))
]
SHAPES = [(3, 4), (3, 4), (5, 4), (4,), (4,), (2, 3, 2), (2, 3, 2), (1, 1), (), (), (3, 4)]


def parameters(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    made[4] = torch.stack([made[4], made[4]], 1)[:, 0]
    return [x.requires_grad_() for x in made]


def give_gradients(params: list[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def apart(params: list[Tensor], link: Any, **settings: Any) -> list[ParamTransformingOptimizer]:
    """An optimizer for each parameter: nothing can be gathered."""
    return [ParamTransformingOptimizer([p], transforms=[link], **settings) for p in params]


@pytest.fixture
def counted() -> Iterator[tuple[Any, list[tuple[int, ...]]]]:
    calls: list[tuple[int, ...]] = []

    @transform
    def watched(grad: Tensor, *, by: float = 1.0) -> None:
        calls.append(tuple(grad.shape))
        grad.mul_(by)

    yield watched, calls
    registry.remove("watched")


@pytest.mark.parametrize("slab", [plans.SLAB, 32])
@pytest.mark.parametrize("param_ndim", [None, 0, 1, -1])
@pytest.mark.parametrize("name", BY_ITEM)
def test_the_same_as_one_by_one(name: str, param_ndim: int, slab: int, monkeypatch: Any):
    made = transforms.get(name)
    monkeypatch.setattr(plans, "SLAB", slab)
    together, alone = parameters(), parameters()
    settings = {"lr": 0.1, "param_ndim": param_ndim, "strict_ndim": False}
    optim = ParamTransformingOptimizer(together, transforms=[made()], **settings)
    others = apart(alone, made(), **settings)
    for step in range(3):
        give_gradients(together, step)
        give_gradients(alone, step)
        optim.step()
        for other in others:
            other.step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_like_items_are_one_call(counted: tuple[Any, list[tuple[int, ...]]]):
    watched, calls = counted
    params = [torch.zeros(3, 4, requires_grad=True) for _ in range(50)]
    params += [torch.zeros(7, 4, requires_grad=True), torch.zeros(2, 5, requires_grad=True)]
    optim = ParamTransformingOptimizer(params, transforms=[watched()], lr=0.1)
    give_gradients(params, 0)
    optim.step()
    assert sorted(calls) == [(2, 5), (157, 4)]


def test_a_large_parameter_is_cut(
    counted: tuple[Any, list[tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
):
    watched, calls = counted
    monkeypatch.setattr(plans, "SMALL", 0)
    monkeypatch.setattr(plans, "SLAB", 4 * 8)
    x = torch.zeros(5, 4, requires_grad=True)
    x.grad = torch.ones(5, 4)
    ParamTransformingOptimizer([x], transforms=[watched(by=2.0)], lr=1.0).step()
    assert calls == [(2, 4), (2, 4), (1, 4)]
    assert torch.equal(x.detach(), torch.full((5, 4), -2.0))


class TestPlans:
    """A plan is made once, and anew where what it hangs on has changed."""

    def calls_of_a_step(self, optim: Any, params: list[Tensor], calls: list[Any]) -> list[Any]:
        calls.clear()
        for p in params:
            p.grad = torch.ones_like(p)
        optim.step()
        return sorted(calls)

    def test_follow_the_parameters(self, counted: tuple[Any, list[tuple[int, ...]]]):
        watched, calls = counted
        params = [torch.zeros(3, 4, requires_grad=True) for _ in range(2)]
        optim = ParamTransformingOptimizer(params, transforms=[watched()], lr=0.1)
        assert self.calls_of_a_step(optim, params, calls) == [(6, 4)]
        assert self.calls_of_a_step(optim, params[:1], calls) == [(6, 4)]
        params[1].grad = None
        assert self.calls_of_a_step(optim, params[:1], calls) == [(3, 4)]
        added = torch.zeros(1, 4, requires_grad=True)
        optim.add_param_group({"params": [added]})
        assert self.calls_of_a_step(optim, [*params, added], calls) == [(7, 4)]
        optim.param_groups[0]["params"].append(optim.param_groups.pop()["params"][0])
        assert self.calls_of_a_step(optim, [*params, added], calls) == [(7, 4)]

    def test_follow_dtype_shape_and_param_ndim(self, counted: tuple[Any, list[tuple[int, ...]]]):
        watched, calls = counted
        params = [torch.zeros(3, 4, requires_grad=True) for _ in range(2)]
        optim = ParamTransformingOptimizer(params, transforms=[watched()], lr=0.1)
        assert self.calls_of_a_step(optim, params, calls) == [(6, 4)]
        optim.param_groups[0]["param_ndim"] = 2
        assert self.calls_of_a_step(optim, params, calls) == [(2, 3, 4)]
        for p in params:
            p.grad = None
        params[0].data = params[0].data.double()
        assert self.calls_of_a_step(optim, params, calls) == [(1, 3, 4), (1, 3, 4)]
        for p in params:
            p.grad = None
            p.data = torch.zeros(2, 6)
        assert self.calls_of_a_step(optim, params, calls) == [(2, 2, 6)]

    def test_follow_settings(self, counted: tuple[Any, list[tuple[int, ...]]]):
        watched, calls = counted
        x = torch.zeros(3, requires_grad=True)
        optim = ParamTransformingOptimizer([x], transforms=[watched()], lr=1.0)
        self.calls_of_a_step(optim, [x], calls)
        optim.param_groups[0]["watched.by"] = 5.0
        self.calls_of_a_step(optim, [x], calls)
        assert x.tolist() == [-6.0] * 3

    def test_follow_counters_that_part(self):
        """Two parameters of which one misses a step are no longer of one count."""
        together, alone = ([torch.ones(2, 3, requires_grad=True) for _ in range(2)] for _ in "ab")
        optim = ParamTransformingOptimizer(together, transforms=[transforms.adam()], lr=0.1)
        others = apart(alone, transforms.adam(), lr=0.1)
        for step in range(5):
            give_gradients(together, step)
            give_gradients(alone, step)
            if step == 2:
                together[0].grad = alone[0].grad = None
            optim.step()
            for other in others:
                other.step()
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a, b)
        steps = [float(optim.state[p]["adam"]["step"]) for p in together]
        assert steps == [4.0, 5.0]

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
    def test_are_not_copied(self, copied: Any):
        params = parameters()
        optim = ParamTransformingOptimizer(
            params, transforms=[transforms.l2_norm()], lr=0.1, strict_ndim=False
        )
        give_gradients(params, 0)
        optim.step()
        twin = copied(optim)
        assert optim._chain.buckets.plans
        assert not twin._chain.buckets.plans
        ours, theirs = ([p for g in o.param_groups for p in g["params"]] for o in (optim, twin))
        give_gradients(ours, 1)
        give_gradients(theirs, 1)
        optim.step()
        twin.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("strided", [False, True], ids=["gathered", "copied"])
def test_writes_past_the_version_counter_are_kept(strided: bool):
    """A transform may write through `.data` or NumPy, where no version tells of it."""

    def rotated(grad: Tensor, seen: Tensor) -> None:
        grad.data.mul_(2)
        seen.numpy()[...] = grad.numpy()

    own = Transform(rotated, state=("seen",))
    params = [torch.zeros(4, 3).mT if strided else torch.zeros(3, 4) for _ in range(3)]
    for p in params:
        p.grad = torch.ones_like(p)
    optim = ParamTransformingOptimizer(params, transforms=[own()], lr=0.0, param_ndim=0)
    optim.step()
    for p in params:
        assert p.grad is not None
        assert (p.grad == 2).all()
        assert (optim.state[p]["rotated"]["seen"] == 2).all()


@pytest.mark.parametrize("name", ["random_sparse", "gradient_noise", "top_q"])
def test_random_draws_keep_the_order_of_the_parameters(name: str):
    def link() -> Any:
        settings: dict[str, Any] = {"dq": 0.3, "q": 0.5} if name == "top_q" else {}
        generator = torch.Generator().manual_seed(3)
        return transforms.get(name)(generator=generator, **settings)

    together, alone = parameters(), parameters()
    optim = ParamTransformingOptimizer(
        together, transforms=[link()], lr=0.1, param_ndim=1, strict_ndim=False
    )
    others = apart(alone, link(), lr=0.1, param_ndim=1, strict_ndim=False)
    for step in range(2):
        give_gradients(together, step)
        give_gradients(alone, step)
        optim.step()
        for other in others:
            other.step()
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a, b)


def test_buffers_of_items_are_cut_with_them(monkeypatch: pytest.MonkeyPatch):
    @transform(state={"seen": PerItem(lambda d: (3, 3))})
    def watch(grad: Tensor, seen: Tensor) -> None:
        seen.add_(1)

    monkeypatch.setattr(plans, "SMALL", 0)
    monkeypatch.setattr(plans, "SLAB", 4 * 8)
    try:
        x = torch.zeros(5, 4, requires_grad=True)
        x.grad = torch.ones(5, 4)
        optim = ParamTransformingOptimizer([x], transforms=[watch()], lr=1.0)
        optim.step()
        assert torch.equal(optim.state[x]["watch"]["seen"], torch.ones(5, 3, 3))
    finally:
        registry.remove("watch")


@pytest.mark.parametrize("name", transforms.names())
def test_no_value_is_read_off_the_device(name: str):
    """On the meta device, which has no values, as on a GPU, where reading one waits for it."""
    params = [torch.empty(4, 3, device="meta") for _ in range(3)]
    params = [p.requires_grad_() for p in [*params, torch.empty(3, device="meta")]]
    for p in params:
        p.grad = torch.empty_like(p)
    chain = [transforms.get(name)(), transforms.clip_total_norm()]
    optim = ParamTransformingOptimizer(params, transforms=chain, lr=0.1, strict_ndim=False)
    for _ in range(3):
        optim.step()


@pytest.mark.parametrize("name", [n for n in BY_ITEM if transforms.get(n).counters])
def test_counters_as_tensors_do_as_numbers_do(name: str, monkeypatch: Any):
    """Off the CPU a counter is never read: the same arithmetic is done with tensors."""
    transform = transforms.get(name)

    def trained() -> Tensor:
        x = torch.linspace(-1, 1, 12).view(3, 4).requires_grad_()
        optim = ParamTransformingOptimizer([x], transforms=[transform()], lr=0.1)
        for _ in range(7):
            x.grad = x.detach() - 0.5
            optim.step()
        buffers = [b.float() for b in optim.state[x][name].values() if b.shape == x.shape]
        return torch.stack([x.detach(), *buffers])

    expected = trained()
    for module in (precondition, weights):
        monkeypatch.setattr(module, "elapsed", lambda step: step.double())
    monkeypatch.setattr(weights, "is_at_hand", lambda step: False)
    torch.testing.assert_close(trained(), expected)


@pytest.mark.parametrize("order", [("cpu", "meta"), ("meta", "cpu")])
def test_a_group_on_two_devices(order: tuple[str, str]):
    params = [torch.zeros(4, 3, device=device, requires_grad=True) for device in order]
    optim = ParamTransformingOptimizer(
        params, lr=0.1, foreach=False, transforms=[transforms.adam()]
    )
    for count in (1, 2):
        for p in params:
            p.grad = torch.ones_like(p)
        optim.step()
        here = params[order.index("cpu")]
        assert optim.state[here]["adam"]["step"] == count


@pytest.mark.parametrize("routed", [False, True])
def test_counters_are_loaded_to_where_the_parameter_is(routed: bool):
    def stepped(device: str) -> Any:
        x = torch.zeros(4, 3, device=device, requires_grad=True)
        x.grad = torch.ones_like(x)
        if routed:
            optim: Any = RoutedOptimizer(
                [("x", x)], {"all": Route(transforms=[transforms.adam()], lr=0.1)}
            )
        else:
            optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[transforms.adam()])
        optim.step()
        return x, optim

    x, optim = stepped("meta")
    _, other = stepped("cpu")
    optim.load_state_dict(other.state_dict())
    assert optim.state[x]["adam"]["step"].device.type == "meta"
    optim.step()
