"""Links on the update: what an inner step changed, rewritten before it counts."""

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW

from tests.test_watching import Counting
from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T
from xformopt.optim import Route, RoutedOptimizer, changed, inner_optimizers, watched
from xformopt.refused import Refused
from xformopt.schedules import linear
from xformopt.transforms import Transform
from xformopt.transforms.settings import Rate

INNERS: dict[str, Any] = {
    n: c for n, c in inner_optimizers().items() if n not in ("sparseadam", "lbfgs", "muon")
}


def halve(update: Tensor) -> None:
    update.mul_(0.5)


def nothing(update: Tensor) -> None:
    update.add_(0)


HALVE, NOTHING = Transform(halve, elementwise=True), Transform(nothing)


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3).double()


def backward(model: nn.Module, step: int = 0) -> Tensor:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step)).double()
    model.zero_grad()
    loss = model(x).sub(1).square().mean()
    loss.backward()
    return loss


def build(model: nn.Module, *links: Any, **settings: Any) -> ParamTransformingOptimizer:
    own = {"InnerOpt": SGD, "lr": 0.1, "strict_ndim": False, **settings}
    return ParamTransformingOptimizer(model.parameters(), transforms=[*links], **own)


def run(model: nn.Module, optim: Any, steps: int = 5) -> list[Tensor]:
    for step in range(steps):
        backward(model, step)
        optim.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("name", INNERS)
def test_around_every_inner_optimizer(name: str):
    """The update is what the inner step made: left as it is, nothing changes; halved, half does."""
    bare, same, half = layer(), layer(), layer()
    alone = INNERS[name](bare.parameters(), lr=0.01)
    kept = build(same, NOTHING(), InnerOpt=INNERS[name], lr=0.01)
    halved = build(half, HALVE(), InnerOpt=INNERS[name], lr=0.01)
    start = [p.detach().clone() for p in half.parameters()]
    for a, b in zip(run(bare, alone), run(same, kept), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    one = layer()
    moved = run(one, INNERS[name](one.parameters(), lr=0.01), 1)
    for old, new, p in zip(start, moved, run(half, halved, 1), strict=True):
        torch.testing.assert_close(p, old + (new - old) / 2, rtol=1e-12, atol=1e-12)


def test_what_it_may_read():
    seen: dict[str, Any] = {}

    def look(
        update: Tensor, param: Tensor, grad: Tensor, raw_grad: Tensor, *, lr: Rate, by: float = 2.0
    ) -> None:
        seen.update(update=update.clone(), param=param.clone(), grad=grad.clone())
        seen.update(raw=raw_grad.clone(), lr=lr, by=by)

    x = torch.tensor([[1.0, -2.0]])
    x.grad = torch.tensor([[3.0, 4.0]])
    own = Transform(look)
    optim = ParamTransformingOptimizer([x], transforms=[T.l2_norm(), own(by=3.0)], lr=0.5)
    optim.step()
    assert torch.allclose(seen["update"], torch.tensor([[-0.3, -0.4]]))
    assert torch.equal(seen["param"], torch.tensor([[1.0, -2.0]]))
    assert torch.allclose(seen["grad"], torch.tensor([[0.6, 0.8]]))
    assert torch.equal(seen["raw"], torch.tensor([[3.0, 4.0]]))
    assert (seen["lr"], seen["by"]) == (0.5, 3.0)


class TestRate:
    def test_is_no_setting(self):
        with pytest.raises(TypeError, match="`hyperball` has no setting `lr`"):
            T.hyperball(lr=0.1)
        optim = build(layer(), T.decoupled_weight_decay())
        assert "decoupled_weight_decay.lr" not in optim.param_groups[0]

    @pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1, dtype=torch.float64)])
    def test_is_that_of_the_group(self, lr: Any):
        model = layer()
        weights, bias = model.weight, model.bias
        before = weights.detach().clone(), bias.detach().clone()
        groups = [{"params": [weights]}, {"params": [bias], "lr": 0.2}]
        link = T.decoupled_weight_decay(weight=0.5)
        optim = ParamTransformingOptimizer(groups, lr=lr, transforms=[link], strict_ndim=False)
        weights.grad, bias.grad = torch.zeros_like(weights), torch.zeros_like(bias)
        optim.step()
        torch.testing.assert_close(weights.detach(), before[0] * 0.95)
        torch.testing.assert_close(bias.detach(), before[1] * 0.9)

    def test_follows_schedules(self):
        x = torch.ones(2, 3)
        optim = ParamTransformingOptimizer(
            [x], lr=linear(0.0, 0.4, steps=4), transforms=[T.decoupled_weight_decay(weight=1.0)]
        )
        wanted = 1.0
        for step in range(4):
            x.grad = torch.zeros_like(x)
            optim.step()
            wanted *= 1 - 0.1 * step
            assert torch.allclose(x, torch.full_like(x, wanted))

    def test_before_the_step_it_is_adamw(self):
        ours, theirs = layer(), layer()
        links = [T.decoupled_weight_decay(weight=0.3, when="pre")]
        mine = build(ours, *links, InnerOpt=Adam)
        decayed = AdamW(theirs.parameters(), lr=0.1, weight_decay=0.3)
        for a, b in zip(run(ours, mine), run(theirs, decayed), strict=True):
            torch.testing.assert_close(a, b)

    def test_an_inner_optimizer_without_one_is_refused(self):
        class Fixed(torch.optim.Optimizer):
            def __init__(self, params: Any) -> None:
                super().__init__(params, {})

        with pytest.raises(ValueError, match="`hyperball` reads the learning rate, and Fixed has"):
            ParamTransformingOptimizer([torch.ones(2)], Fixed, transforms=[T.hyperball()])


class TestOrder:
    def test_between_the_step_and_what_projects(self):
        x = torch.tensor([[3.0, 4.0]])
        x.grad = torch.tensor([[-30.0, -40.0]])
        ball = T.l2_ball(radius=10.0)
        ParamTransformingOptimizer([x], transforms=[ball, HALVE()], lr=1.0).step()
        assert torch.allclose(x, torch.tensor([[6.0, 8.0]]))

    def test_projecting_leaves_them_out(self):
        x = torch.tensor([[3.0, 4.0]])
        links = [T.hyperball(), T.l2_ball(radius=1.0)]
        ParamTransformingOptimizer([x], transforms=links, lr=1.0).project()
        assert torch.allclose(x, torch.tensor([[0.6, 0.8]]))

    def test_several_run_in_order(self):
        def add(update: Tensor) -> None:
            update.add_(1)

        x = torch.zeros(2, 2)
        x.grad = torch.full((2, 2), -4.0)
        links = [HALVE(), Transform(add)()]
        ParamTransformingOptimizer([x], transforms=links, lr=1.0).step()
        assert (x == 3).all()

    def test_a_link_on_the_parameter_may_read_the_update(self):
        def undo(param: Tensor, update: Tensor) -> None:
            param.sub_(update)

        x = torch.zeros(2, 2)
        x.grad = torch.full((2, 2), -4.0)
        optim = ParamTransformingOptimizer([x], transforms=[HALVE(), Transform(undo)()], lr=1.0)
        optim.step()
        assert (x == 0).all()
        optim.project()
        assert (x == 0).all()


def test_a_closure_that_is_called_often():
    """Around LBFGS the update is the change over all of the step."""
    bare, same, half = layer(), layer(), layer()
    alone = LBFGS(bare.parameters(), max_iter=4)
    alone.step(partial(backward, bare))  # type: ignore[arg-type]
    build(same, NOTHING(), InnerOpt=LBFGS, lr=1.0, max_iter=4).step(partial(backward, same))
    build(half, HALVE(), InnerOpt=LBFGS, lr=1.0, max_iter=4).step(partial(backward, half))
    for old, new, a, b in zip(*(m.parameters() for m in (layer(), bare, same, half)), strict=True):
        torch.testing.assert_close(a, new)
        torch.testing.assert_close(b, (old + new) / 2)


def test_links_read_what_is_minimized_where_the_inner_optimizer_maximizes():
    def against(update: Tensor, grad: Tensor) -> None:
        update.copy_(-grad)

    x = torch.zeros(1, 2)
    x.grad = torch.tensor([[1.0, -2.0]])
    own = Transform(against)
    ParamTransformingOptimizer([x], transforms=[own()], lr=1.0, maximize=True).step()
    assert torch.equal(x, torch.tensor([[1.0, -2.0]]))
    assert torch.equal(x.grad, torch.tensor([[1.0, -2.0]]))


def test_parameters_without_a_gradient_stay():
    x, y = torch.ones(2, 2), torch.ones(2, 2)
    optim = ParamTransformingOptimizer([x, y], transforms=[HALVE()], lr=1.0)
    x.grad = torch.ones(2, 2)
    optim.step()
    assert (x == 0.5).all()
    assert (y == 1).all()
    y.grad = torch.ones(2, 2)
    optim.step()
    assert (x == 0).all()
    assert (y == 0.5).all()


def test_a_link_that_fails_leaves_the_parameters_as_they_were():
    def fails(update: Tensor) -> None:
        update.mul_(3)
        raise ValueError("of a user")

    model = layer()
    before = [p.detach().clone() for p in model.parameters()]
    optim = build(model, HALVE(), Transform(fails)())
    with pytest.raises(ValueError, match="of a user"):
        run(model, optim, 1)
    assert all(map(torch.equal, before, model.parameters()))


def test_routes_have_their_own():
    model = layer()
    before = [p.detach().clone() for p in model.parameters()]
    routes = {"matrices": Route(ndim=2, transforms=[HALVE()]), "rest": Route(transforms=[])}
    optim = RoutedOptimizer(model, routes, lr=0.1)
    backward(model)
    optim.step()
    for old, p, share in zip(before, model.parameters(), (0.5, 1.0), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.detach(), old - 0.1 * share * p.grad)


def test_nothing_is_kept_where_no_link_asks():
    def calls(*links: Any) -> list[str]:
        model = layer()
        optim = build(model, *links)
        run(model, optim, 1)
        backward(model)
        with Counting() as counting:
            optim.step()
        return counting.calls

    bare = calls()
    assert not any("sub_" in call or "empty_like" in call for call in bare)
    asked = calls(NOTHING())
    assert sum("_foreach_copy_" in call for call in asked) == 1
    assert sum("empty" in call for call in asked) == 0, "the copies are those of the step before"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_alike(copied: Any):
    model = layer()
    optim = build(model, T.hyperball(param_ndim=None))
    run(model, optim, 2)
    twin, other = copied((model, optim))
    assert all(map(torch.equal, run(model, optim), run(twin, other)))


def test_a_loaded_one_goes_on_alike():
    first, second = layer(), layer()
    optim = build(first, T.hyperball(param_ndim=None), InnerOpt=Adam)
    run(first, optim, 3)
    second.load_state_dict(first.state_dict())
    other = build(second, T.hyperball(param_ndim=None), InnerOpt=Adam)
    other.load_state_dict(copy.deepcopy(optim.state_dict()))
    assert all(map(torch.equal, run(first, optim), run(second, other)))


def test_watching_tells_the_change():
    x = torch.tensor([[3.0, 4.0]])
    x.grad = torch.tensor([[1.0, 1.0]])
    optim = ParamTransformingOptimizer([x], transforms=[HALVE(), T.trust_region()], lr=1.0)
    seen: list[Any] = []

    def note(name: str, before: list[Tensor], after: list[Tensor]) -> None:
        seen.append((name, before[0].tolist(), after[0].tolist()))

    with watched(optim, note), changed(optim) as acted:
        optim.step()
    assert seen[0] == ("halve", [[-1.0, -1.0]], [[-0.5, -0.5]])
    assert acted == {"halve": True, "trust_region": True}


class TestDeclared:
    def test_when_is_theirs_alone(self):
        with pytest.raises(Refused, match="`when` of `hyperball` must be 'update', got 'post'"):
            T.hyperball(when="post")
        with pytest.raises(Refused, match="`when` of `sign` must be 'pre' or 'post', got 'update'"):
            T.sign(when="update")

    @pytest.mark.parametrize("names", ["update, update_2", "grad, update", "raw_grad", "update, x"])
    def test_what_can_be_read_is_said(self, names: str):
        made: dict[str, Any] = {}
        exec(f"def wrong({names}): pass", made)
        with pytest.raises(TypeError, match="`update` beside `param` or `grad` or `raw_grad`"):
            Transform(made["wrong"])

    def test_before_the_step_there_is_no_update(self):
        def undo(param: Tensor, update: Tensor) -> None: ...

        with pytest.raises(Refused, match="`when='pre'` of `undo`: it reads the update, which is"):
            Transform(undo)(when="pre")

    def test_the_rate_is_keyword_only_and_the_groups(self):
        def given(update: Tensor, lr: float) -> None: ...
        def preset(update: Tensor, *, lr: float = 0.1) -> None: ...

        for fn in (given, preset):
            with pytest.raises(TypeError, match=r"`lr` of transform `.*` must be keyword-only and"):
                Transform(fn)

    def test_gradients_of_embeddings_that_are_sparse(self):
        def reads(update: Tensor, grad: Tensor) -> None: ...

        x = torch.ones(3, 2)
        x.grad = torch.eye(3, 2).to_sparse()
        ParamTransformingOptimizer([x], transforms=[HALVE()], lr=1.0).step()
        assert torch.equal(x, torch.ones(3, 2) - 0.5 * torch.eye(3, 2))
        optim = ParamTransformingOptimizer([x], transforms=[Transform(reads)()], lr=1.0)
        with pytest.raises(ValueError, match="`reads` cannot act on the sparse gradient"):
            optim.step()


class TestHyperball:
    @pytest.mark.parametrize("InnerOpt", INNERS.values())
    def test_norms_of_weights_stay(self, InnerOpt: Any):
        model = layer()
        norms = [p.detach().norm() for p in model.parameters()]
        run(model, build(model, T.hyperball(param_ndim=None), InnerOpt=InnerOpt))
        for p, norm in zip(model.parameters(), norms, strict=True):
            torch.testing.assert_close(p.detach().norm(), norm)

    def test_updates_have_the_length_of_the_rate_before_the_norm_is_set(self):
        model = layer()
        old, norm = model.weight.detach().clone(), model.weight.detach().norm()
        backward(model)
        build(model, T.hyperball(param_ndim=None)).step()
        assert model.weight.grad is not None
        moved = old - 0.1 * norm * model.weight.grad / model.weight.grad.norm()
        torch.testing.assert_close(model.weight.detach(), norm * moved / moved.norm())

    def test_an_item_of_zeros_gets_a_norm(self):
        x = torch.zeros(1, 2)
        optim = ParamTransformingOptimizer([x], transforms=[T.hyperball()], lr=1.0)
        for _ in range(3):
            x.grad = torch.tensor([[-3.0, -4.0]])
            optim.step()
        assert torch.allclose(x.norm(), torch.tensor(5.0))


@pytest.mark.parametrize("soft", [True, False])
def test_spectral_clip_holds_the_largest_singular_value(soft: bool):
    model = layer()
    before = model.weight.detach().clone()
    optim = build(model, T.spectral_clip(max_norm=0.2, soft=soft, param_ndim=None))
    backward(model)
    assert model.weight.grad is not None
    model.weight.grad.mul_(100)
    optim.step()
    largest = torch.linalg.matrix_norm(model.weight.detach() - before, 2)
    assert 0.5 * 0.02 < largest <= 0.02 + 1e-12


@pytest.mark.parametrize("name", ["hyperball_adamw", "spectra_adamw", "cautious_decay_adamw"])
def test_half_precision(name: str):
    """bfloat16 parameters move as float64 ones do."""
    narrow, wide = layer().bfloat16(), layer()
    wide.load_state_dict({k: v.double() for k, v in narrow.state_dict().items()})
    start = [p.detach().clone() for p in wide.parameters()]
    for model in (narrow, wide):
        optim = recipes.build(
            name, [*model.named_parameters(), ("head.weight", torch.zeros(1))], lr_scale=20.0
        )
        for step in range(5):
            generator = torch.Generator().manual_seed(step)
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
            optim.step()
    for old, a, b in zip(start, narrow.parameters(), wide.parameters(), strict=True):
        moved = b.detach() - old
        assert (a.detach().double() - b.detach()).norm() < 0.1 * moved.norm()


def test_buffers_are_wider_than_half_precision():
    model = layer().bfloat16()
    optim = build(model, T.hyperball(param_ndim=None))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optim.step()
    assert optim.state[model.weight]["hyperball"]["radius"].dtype == torch.float32


def test_a_step_with_a_closure_takes_what_gets_a_gradient():
    """LBFGS and plain tensors, to which the closure gives a gradient."""
    x = torch.zeros(2, 2)

    def closure() -> Tensor:
        x.grad = torch.ones(2, 2)
        return torch.tensor(1.0)

    optim = ParamTransformingOptimizer([x], LBFGS, transforms=[HALVE()], lr=1.0, max_iter=1)
    optim.step(closure)
    moved = torch.zeros(2, 2)
    bare = LBFGS([moved], lr=1.0, max_iter=1)

    def bare_closure() -> Tensor:
        moved.grad = torch.ones(2, 2)
        return torch.tensor(1.0)

    bare.step(bare_closure)  # type: ignore[arg-type]
    assert torch.allclose(x, moved / 2)


def test_what_only_reads_the_update_rounds_nothing():
    def look(param: Tensor, update: Tensor) -> None: ...

    ours, theirs = layer().float(), layer().float()
    optim = build(ours, Transform(look)(), lr=0.9)
    bare = SGD(theirs.parameters(), lr=0.9)
    for model, each in ((ours, optim), (theirs, bare)):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
        each.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


class TestTrustRegion:
    def test_bounds_the_update_by_the_weights(self):
        model = layer()
        before = [p.detach().clone() for p in model.parameters()]
        optim = build(model, T.trust_region(max_ratio=0.01, param_ndim=None), lr=10.0)
        run(model, optim, 1)
        for old, p in zip(before, model.parameters(), strict=True):
            torch.testing.assert_close((p.detach() - old).norm(), 0.01 * old.norm())

    def test_leaves_what_is_within(self):
        ours, theirs = layer(), layer()
        optim = build(ours, T.trust_region(max_ratio=0.01, param_ndim=None), lr=1e-5)
        moved = run(ours, optim, 1), run(theirs, SGD(theirs.parameters(), lr=1e-5), 1)
        assert all(map(torch.allclose, *moved))


class TestDecoupledDecay:
    def test_leaves_what_has_no_gradient(self):
        x, y = torch.ones(2, 2), torch.ones(2, 2)
        x.grad = torch.zeros(2, 2)
        links = [T.decoupled_weight_decay(weight=0.5, when="pre")]
        ParamTransformingOptimizer([x, y], Adam, lr=0.1, transforms=links).step()
        assert torch.allclose(x, torch.full((2, 2), 0.95))
        assert (y == 1).all()

    def test_projects_nothing(self):
        x = torch.ones(2, 2)
        optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[T.decoupled_weight_decay()])
        optim.project()
        assert (x == 1).all()


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e22])
def test_spectral_clip_of_any_size(size: float, soft: bool):
    update = size * torch.eye(3).unsqueeze(0)
    T.spectral_clip.fn(update, max_norm=1.0, soft=soft, lr=torch.tensor([1.0], dtype=torch.float64))
    wanted = size / (1 + size**2) ** 0.5 if soft else min(size, 1.0)
    torch.testing.assert_close(update, wanted * torch.eye(3).unsqueeze(0))


def test_one_large_gradient_kills_no_row():
    second = T.row_rms.fresh(torch.ones(1, 2, 3))
    T.row_rms.fn(torch.full((1, 2, 3), 1e25), *second)
    grad = torch.ones(1, 2, 3)
    T.row_rms.fn(grad, *second)
    assert grad.isfinite().all()
    assert grad.all()
