"""`watched` and `changed` tell what links do, and nothing is done for it where they are not on."""

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam
from torch.utils._python_dispatch import TorchDispatchMode

from tests.test_names import NAMES
from tests.test_names import build as build_named
from xformopt import ParamTransformingOptimizer, recipes
from xformopt import optim as O
from xformopt import transforms as T
from xformopt.optim import (
    ChainedParamTransformingOptimizer,
    Route,
    RoutedOptimizer,
    SignedGradientOptim,
    TopQGradientOptimizer,
    changed,
    watched,
)
from xformopt.refused import Refused
from xformopt.testing.calls import link_for

Seen = list[tuple[str, list[Tensor], list[Tensor]]]


class Counting(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(str(func))
        return func(*args, **(kwargs or {}))


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def give(params: Any, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)


def build(params: Any, *links: Any, **settings: Any) -> ParamTransformingOptimizer:
    return ParamTransformingOptimizer(params, transforms=[*links], lr=0.1, **settings)


def keep(seen: Seen, name: str, before: list[Tensor], after: list[Tensor]) -> None:
    seen.append((name, before, [x.clone() for x in after]))


def test_each_link_once_in_each_step():
    model, seen = layer(), Seen()
    optim = build(model.parameters(), T.l2_norm(), T.sign(), T.l2_ball(radius=0.1), param_ndim=1)
    with watched(optim, partial(keep, seen)):
        for i in range(2):
            give(model.parameters(), i)
            optim.step()
    optim.step()
    assert [name for name, _, _ in seen] == ["l2_norm", "sign", "l2_ball"] * 2
    _, before, after = seen[0]
    give(model.parameters(), 0)
    expected: list[Any] = [p.grad for p in model.parameters()]
    assert all(map(torch.equal, before, expected))
    torch.testing.assert_close(after[0].norm(dim=1), torch.ones(3))
    assert all(map(torch.equal, seen[1][1], after))
    assert max(x.norm(dim=-1).max() for x in seen[5][2]) <= 0.1 + 1e-6


def run(name: str, is_watched: bool) -> list[Tensor]:
    """Make steps of a recipe, or around a link; return where the parameters are."""
    model = nn.Sequential(layer(), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    if name in recipes.names():
        optim: Any = recipes.build(name, model)
    else:
        link = link_for(T.get(name))
        optim = build(model.named_parameters(), link, momentum=0.9, strict_ndim=False)
    for i in range(4):
        give(model.parameters(), i)
        if is_watched and i % 2:
            with changed(optim) as seen:
                optim.step()
            assert seen or [*optim.transforms] in (["param_ema"], ["lookahead"])
        else:
            optim.step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("name", [*recipes.names(), *T.names()])
def test_a_watched_step_is_the_same_to_the_bit(name: str):
    assert all(map(torch.equal, run(name, True), run(name, False)))


def test_nothing_is_done_where_nobody_watches():
    def calls(optim: Any, params: Any) -> list[str]:
        give(params)
        with Counting() as counting:
            optim.step()
        return counting.calls

    params = [[*layer().parameters()] for _ in range(2)]
    never, once = (build(p, T.clip_norm(max_norm=1.0), T.box(min=-1.0, max=1.0)) for p in params)
    seen = Seen()
    for optim, p in zip((never, once), params, strict=True):
        calls(optim, p)
    with watched(once, partial(keep, seen)):
        on = calls(once, params[1])
    off = calls(once, params[1])
    assert len(seen) == 2
    assert off == calls(never, params[0])
    assert not any("clone" in call for call in off)
    assert sum("clone" in call for call in on) == 2 * 4


def test_changed_tells_what_a_link_did_in_any_step():
    x = [torch.zeros(2)]
    optim = build(x, T.clip_norm(max_norm=1.0), T.box(min=-100.0, max=100.0))
    with changed(optim) as seen:
        assert seen == {}
        for size in (0.1, 10.0, 0.1):
            x[0].grad = torch.full((2,), size)
            optim.step()
            assert seen["clip_norm"] == (size == 10.0 or x[0].abs().max() > 0.05)
    assert seen == {"clip_norm": True, "box": False}


def test_nan_that_stays_is_no_change():
    x = [torch.zeros(2)]
    optim = build(x, T.clamp(max=5.0), T.sign())
    x[0].grad = torch.tensor([float("nan"), 1.0])
    with changed(optim) as seen:
        optim.step()
    assert seen == {"clamp": False, "sign": True}


def test_links_that_keep_averages_are_left_out_of_what_changed():
    x, names = [torch.zeros(2)], Seen()
    optim = build(x, T.sign(), T.param_ema(), T.lookahead())
    give(x)
    with changed(optim) as seen, watched(optim, partial(keep, names)):
        optim.step()
    assert [*seen] == ["sign"]
    assert [name for name, _, _ in names] == ["sign", "param_ema", "lookahead"]


def test_behind_routes():
    model = layer()
    routes = {
        "matrix": Route("weight", transforms=[T.sign()]),
        "rest": Route(transforms={"mine": T.clip_norm(max_norm=1e9)}),
    }
    optim = RoutedOptimizer(model, routes, inner=SGD, transforms=[T.clip_total_norm()], lr=0.1)
    give(model.parameters())
    with changed(optim) as seen:
        optim.step()
    assert seen == {"clip_total_norm": True, "matrix.sign": True, "rest.mine": False}
    assert [*seen] == [*optim.transforms]


@pytest.mark.parametrize("name", NAMES)
def test_transforms_that_stand_for_hooks(name: str):
    params = [torch.ones(4, 3)]
    optim = build_named(name, params)
    give(params)
    with changed(optim) as seen:
        optim.step()
    if issubclass(getattr(O, name), ChainedParamTransformingOptimizer):
        assert {"TopQGradientOptimizer"} < seen.keys()
    else:
        assert seen.keys() == {name}


def test_links_of_a_chained_one_after_its_hooks():
    params, seen = [torch.ones(4, 3)], Seen()
    parts = [partial(TopQGradientOptimizer, q=0.5), SignedGradientOptim]
    optim = ChainedParamTransformingOptimizer(
        *parts, params=params, transforms=[T.clip_norm()], lr=0.1
    )
    give(params)
    with watched(optim, partial(keep, seen)):
        optim.step()
    assert [n for n, _, _ in seen] == ["TopQGradientOptimizer", "SignedGradientOptim", "clip_norm"]


def test_parameters_that_take_no_part():
    params, seen = [torch.ones(2), torch.ones(0), torch.ones(3)], Seen()
    optim = build(params, T.sign(), T.box(min=-1.0, max=1.0))
    params[0].grad = torch.ones(2)
    with watched(optim, partial(keep, seen)):
        optim.step()
    assert [len(before) for _, before, _ in seen] == [1, 2]


def test_sparse_gradients():
    table = nn.Embedding(5, 2, sparse=True)
    optim = build(table.parameters(), T.sign())
    (3.0 * table(torch.tensor([1, 1, 4]))).sum().backward()
    with changed(optim) as seen:
        optim.step()
    assert seen == {"sign": True}


def test_steps_with_a_closure():
    x = torch.zeros(2, requires_grad=True)

    def closure() -> Tensor:
        x.grad = None
        loss = (x - 1).square().sum()
        loss.backward()
        return loss

    for inner, least in ((SGD, 1), (LBFGS, 2)):
        seen = Seen()
        optim = ParamTransformingOptimizer([x], inner, transforms=[T.sign()], lr=0.1)
        with watched(optim, partial(keep, seen)):
            optim.step(closure)
        assert len(seen) >= least
        assert inner is LBFGS or len(seen) == 1


def test_a_projection_is_no_step():
    x, seen = [torch.full((2,), 3.0)], Seen()
    optim = build(x, T.box(min=-1.0, max=1.0))
    with watched(optim, partial(keep, seen)):
        optim.project()
    assert not seen
    assert x[0].max() == 1


def test_several_watch_until_they_leave():
    x, outer, inner = [torch.zeros(2)], Seen(), Seen()
    optim = build(x, T.sign())
    give(x)
    with watched(optim, partial(keep, outer)):
        with watched(optim, partial(keep, inner)):
            optim.step()
        optim.step()
    optim.step()
    assert (len(outer), len(inner)) == (2, 1)


def test_who_fails_watches_no_more():
    x = [torch.zeros(2)]
    optim, seen = build(x, T.sign()), Seen()
    give(x)

    def fail(name: str, before: list[Tensor], after: list[Tensor]) -> None:
        raise KeyError(name)

    with pytest.raises(KeyError, match="sign"), watched(optim, fail):
        optim.step()
    with watched(optim, partial(keep, seen)):
        optim.step()
    assert len(seen) == 1


def test_copies_are_not_watched():
    x, seen = [torch.zeros(2)], Seen()
    optim = build(x, T.sign())
    with watched(optim, partial(keep, seen)):
        twins = [copy.deepcopy(optim), pickle.loads(pickle.dumps(optim))]
    for twin in twins:
        give(twin.param_groups[0]["params"])
        twin.step()
    assert not seen


def test_compiled_steps_are_refused():
    optim = build([torch.zeros(2)], T.sign(), compile=True)
    with (
        pytest.raises(
            Refused, match="`compile=True`: links of a compiled step cannot be"
        ) as caught,
        changed(optim),
    ):
        pass
    assert caught.value.path == "compile"


def test_an_optimizer_without_links_has_nothing_to_watch():
    x = [torch.zeros(2)]
    give(x)
    for optim in (Adam(x), build(x)):
        with changed(optim) as seen:
            optim.step()
        assert seen == {}
