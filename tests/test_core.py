"""The core beyond its specification: links, groups, state, layouts, copies, errors."""

import copy
import io
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from xformopt import transforms as T
from xformopt.optim import (
    ChainedParamTransformingOptimizer,
    FrankWolfe,
    L1FrankWolfe,
    L1qNormedGradientOptim,
    L2ProjectedOptim,
    ParamTransformingOptimizer,
    SignedGradientOptim,
    TopQGradientOptimizer,
    inner_optimizers,
    to_batch,
)
from xformopt.optim.named import ClampedGradientOptimizer
from xformopt.testing import TOLERANCE

DENSE_INNERS = sorted(set(inner_optimizers()) - {"sparseadam"})


def with_grad(x: Tensor, grad: Tensor | None = None) -> Tensor:
    x.grad = torch.randn_like(x) if grad is None else grad
    return x


def stepped(optim: Any, x: Tensor, steps: int = 2) -> Tensor:
    """Make steps on ½‖x - 1‖² by a closure, so that LBFGS works too."""

    def closure() -> Tensor:
        optim.zero_grad()
        loss = 0.5 * ((x - 1) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optim.step(closure)
    return x.detach().clone()


class TestLinks:
    def test_run_in_order_before_and_after_the_step(self):
        x = with_grad(torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[-3.0, 0.5, 0.1]]))
        chain = [T.top_q(q=1 / 3), T.sign(), T.linf_ball(radius=1.5)]
        ParamTransformingOptimizer([x], lr=1.0, transforms=chain).step()
        assert x.tolist() == [[1.5, 0, 1]]
        assert x.grad is not None
        assert x.grad.tolist() == [[-1, 1, 0]]

    def test_same_transform_twice_keeps_both_settings(self):
        x = with_grad(torch.zeros(1, 4), torch.tensor([[1.0, 2, 3, 4]]))
        optim = ParamTransformingOptimizer([x], transforms=[T.top_q(q=0.25), T.top_q(q=0.75)])
        assert list(optim.transforms) == ["top_q", "top_q_2"]
        optim.step()
        assert x.grad is not None
        assert x.grad.tolist() == [[0, 0, 0, 4]]

    def test_settings_are_per_group_and_can_change(self):
        x, y = (with_grad(torch.zeros(1, 4), torch.tensor([[1.0, 2, 3, 4]])) for _ in range(2))
        groups = [{"params": [x]}, {"params": [y], "top_q.q": 0.75}]
        optim = ParamTransformingOptimizer(groups, transforms=[T.top_q(q=0.25)])
        optim.step()
        kept = [int(p.grad.count_nonzero()) for p in (x, y) if p.grad is not None]
        assert kept == [3, 1]
        optim.param_groups[0]["top_q.q"] = 0.5
        optim.step()
        assert x.grad is not None
        assert x.grad.count_nonzero() == 2

    def test_settings_never_meet_those_of_the_inner_optimizer(self):
        x = with_grad(torch.ones(2, 2))
        optim = ParamTransformingOptimizer([x], Adam, eps=1e-3, transforms=[T.l2_norm(eps=0.5)])
        assert optim.param_groups[0]["eps"] == 1e-3
        assert optim.param_groups[0]["l2_norm.eps"] == 0.5

    def test_param_ndim_of_a_link_beats_that_of_the_group(self):
        grad = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
        x, y = (
            with_grad(torch.zeros(2, 2), grad.clone()),
            with_grad(torch.zeros(2, 2), grad.clone()),
        )
        ParamTransformingOptimizer([x], param_ndim=0, transforms=[T.l2_norm(param_ndim=1)]).step()
        ParamTransformingOptimizer([y], param_ndim=0, transforms=[T.l2_norm()]).step()
        assert x.grad is not None
        assert y.grad is not None
        assert torch.allclose(x.grad, torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
        assert y.grad.tolist() == [[1, 1], [1, 1]]

    def test_when_moves_a_transform_to_the_other_side_of_the_step(self):
        x = with_grad(torch.tensor([3.0]), torch.tensor([1.0]))
        optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[T.linf_ball(when="pre")])
        optim.step()
        assert x.tolist() == [0]

    def test_run_beside_hooks(self):
        x = with_grad(torch.zeros(1, 2), torch.tensor([[4.0, -8.0]]))
        SignedGradientOptim([x], transforms=[T.l1_norm()], lr=1.0, param_ndim=1).step()
        assert x.tolist() == [[-0.5, 0.5]]

    @pytest.mark.parametrize(
        ("transforms", "message"),
        [
            ([T.sign], r"`transforms\[0\]` must be a link.*call the transform: `sign\(\)`"),
            ({"a": 3}, r"`transforms.a` must be a link, got 3"),
        ],
    )
    def test_what_is_no_link_is_refused(self, transforms: Any, message: str):
        with pytest.raises(TypeError, match=message):
            ParamTransformingOptimizer([torch.zeros(1)], transforms=transforms)

    def test_wrong_group_settings_are_refused(self):
        link = T.top_q(q=0.5)
        with pytest.raises(ValueError, match=r"`q` of `top_q` must be a number in \[0, 1\], got 2"):
            ParamTransformingOptimizer(
                [{"params": [torch.zeros(1)], "top_q.q": 2.0}], transforms=[link]
            )
        with pytest.raises(ValueError, match=r"keys \['top_q.p'\] of no link"):
            ParamTransformingOptimizer(
                [{"params": [torch.zeros(1)], "top_q.p": 2.0}], transforms=[link]
            )

    def test_one_that_returns_instead_of_writing_is_caught(self):
        @T.transform
        def wrong(grad: Tensor) -> Any:
            return grad.sign()

        try:
            with pytest.raises(ValueError, match="`wrong` must write to `grad` in place"):
                ParamTransformingOptimizer([with_grad(torch.ones(2))], transforms=[wrong()]).step()
        finally:
            T.remove("wrong")


@pytest.fixture
def average():
    """A throw-away transform with state: the mean of all gradients so far, decaying."""

    @T.transform(state=("average",))
    def throwaway_average(grad: Tensor, average: Tensor, *, decay: float = 0.5) -> None:
        average.mul_(decay).add_(grad)
        grad.copy_(average)

    yield throwaway_average
    T.remove("throwaway_average")


class TestState:
    @pytest.mark.parametrize("inner", ["sgd", "adam", "lbfgs"])
    def test_lives_beside_that_of_the_inner_optimizer(self, average: T.Transform, inner: str):
        x = torch.zeros(3, requires_grad=True)
        optim = ParamTransformingOptimizer([x], inner_optimizers()[inner], transforms=[average()])
        stepped(optim, x)
        assert "average" in optim.state[x]["throwaway_average"]

    def test_accumulates(self, average: T.Transform):
        x = with_grad(torch.zeros(1), torch.tensor([1.0]))
        optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[average(decay=0.5)])
        for _ in range(2):
            x.grad = torch.tensor([1.0])
            optim.step()
        assert x.tolist() == [-2.5]

    def test_survives_save_and_load_to_the_bit(self, average: T.Transform):
        def fresh() -> tuple[Tensor, ParamTransformingOptimizer]:
            x = torch.arange(6.0).view(2, 3).requires_grad_()
            return x, ParamTransformingOptimizer(
                [x], Adam, lr=0.1, transforms=[average(), T.sign()]
            )

        x, optim = fresh()
        stepped(optim, x, 3)
        file = io.BytesIO()
        torch.save(optim.state_dict(), file)
        file.seek(0)
        y, loaded = fresh()
        loaded.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            y.copy_(x)
        assert torch.equal(stepped(loaded, y, 3), stepped(optim, x, 3))
        assert loaded.param_groups is loaded.inner_opt.param_groups

    def test_survives_save_and_load_with_a_group_added_later(self, average: T.Transform):
        def fresh() -> tuple[list[Tensor], ParamTransformingOptimizer]:
            x, y = (torch.arange(3.0).requires_grad_() for _ in range(2))
            optim = ParamTransformingOptimizer([x], Adam, lr=0.1, transforms=[average()])
            return [x, y], optim

        def step(params: list[Tensor], optim: ParamTransformingOptimizer) -> None:
            for p in params:
                p.grad = p.detach() - 1
            optim.step()

        params, optim = fresh()
        step(params[:1], optim)
        optim.add_param_group({"params": [params[1]], "throwaway_average.decay": 0.9})
        step(params, optim)
        copies, loaded = fresh()
        loaded.add_param_group({"params": [copies[1]]})
        loaded.load_state_dict(copy.deepcopy(optim.state_dict()))
        for p, q in zip(copies, params, strict=True):
            p.data.copy_(q.data)
        for _ in range(2):
            step(params, optim)
            step(copies, loaded)
        assert loaded.param_groups[1]["throwaway_average.decay"] == 0.9
        assert all(torch.equal(p, q) for p, q in zip(copies, params, strict=True))

    def test_loading_into_another_chain_says_what_differs(self):
        saved = ParamTransformingOptimizer([torch.zeros(1)], transforms=[T.top_q()]).state_dict()
        other = ParamTransformingOptimizer([torch.zeros(1)], transforms=[T.sign()])
        with pytest.raises(ValueError, match=r"another chain.*top_q.q.*lacks.*sign.param_ndim"):
            other.load_state_dict(saved)

    def test_state_dict_hooks_of_outer_and_inner_fire_once(self):
        optim = ParamTransformingOptimizer([torch.zeros(1)])
        calls: list[str] = []
        for name, o in (("outer", optim), ("inner", optim.inner_opt)):
            o.register_state_dict_pre_hook(lambda _, n=name: calls.append(f"{n} save"))
            o.register_state_dict_post_hook(lambda _, __, n=name: calls.append(f"{n} saved"))
            o.register_load_state_dict_pre_hook(lambda _, __, n=name: calls.append(f"{n} load"))
            o.register_load_state_dict_post_hook(lambda _, n=name: calls.append(f"{n} loaded"))
            o.register_step_pre_hook(lambda *_, n=name: calls.append(f"{n} step"))
            o.register_step_post_hook(lambda *_, n=name: calls.append(f"{n} stepped"))
        optim.load_state_dict(optim.state_dict())
        optim.step()
        for when in ("save", "saved", "load", "loaded", "step", "stepped"):
            assert calls.count(f"outer {when}") == calls.count(f"inner {when}") == 1


OPTIMIZERS = {
    "links": lambda x: ParamTransformingOptimizer(
        [x], Adam, lr=0.1, transforms=[T.top_q(q=0.5), T.l2_ball(radius=2.0)]
    ),
    "named": lambda x: L2ProjectedOptim([x], Adam, epsilon=2.0, lr=0.1),
    "chained": lambda x: L1qNormedGradientOptim([x], q=0.5, lr=0.1),
    "generator": lambda x: TopQGradientOptimizer(
        [x], q=0.5, dq=0.3, lr=0.1, generator=torch.Generator().manual_seed(3)
    ),
    "frank_wolfe": lambda x: L1FrankWolfe([x], epsilon=2.0, use_default_lr_schedule=False, lr=0.5),
    **{
        name: lambda x, name=name: ParamTransformingOptimizer(
            [x], inner_optimizers()[name], transforms=[T.sign()]
        )
        for name in DENSE_INNERS
    },
}


class TestCopies:
    @pytest.mark.parametrize("kind", OPTIMIZERS)
    @pytest.mark.parametrize("copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
    def test_a_copy_goes_on_as_the_original(self, kind: str, copier: Any):
        x = torch.linspace(-1, 1, 6).view(2, 3).requires_grad_()
        optim = OPTIMIZERS[kind](x)
        stepped(optim, x)
        twin = copier(optim)
        (y,) = twin.param_groups[0]["params"]
        assert y is not x
        assert twin.param_groups is twin.inner_opt.param_groups
        assert twin.state is twin.inner_opt.state
        assert torch.equal(stepped(twin, y), stepped(optim, x))

    def test_a_copy_after_a_scheduler_was_attached(self):
        x = torch.zeros(2, 3, requires_grad=True)
        optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[T.sign()])
        scheduler = torch.optim.lr_scheduler.StepLR(optim, 1, 0.5)
        stepped(optim, x, 1)
        scheduler.step()
        twin = pickle.loads(pickle.dumps(optim))
        assert optim.inner_opt.param_groups[0]["lr"] == twin.param_groups[0]["lr"] == 0.5


class TestGroups:
    def test_added_group_gets_all_defaults_and_is_shared(self):
        optim = ParamTransformingOptimizer([torch.zeros(2)], Adam, transforms=[T.top_q(q=0.3)])
        optim.add_param_group({"params": [torch.zeros(3)], "top_q.q": 0.6})
        assert optim.inner_opt.param_groups[1]["top_q.q"] == 0.6
        assert optim.param_groups[1]["betas"] == (0.9, 0.999)
        assert optim.param_groups[1]["param_ndim"] == -1

    def test_a_wrong_group_is_refused_and_not_kept(self):
        optim = ParamTransformingOptimizer([torch.zeros(2, 2)], param_ndim=2)
        with pytest.raises(ValueError, match="`param_ndim=2` needs at least 2 dimensions"):
            optim.add_param_group({"params": [torch.zeros(3)]})
        assert len(optim.param_groups) == 1

    def test_named_parameters(self):
        model = nn.Linear(2, 3)
        optim = ParamTransformingOptimizer(model.named_parameters(), Adam)
        assert optim.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]

    def test_chained_overrides_the_second_of_two_by_its_own_key(self):
        x = with_grad(torch.zeros(4), torch.tensor([1.0, 2, 3, 4]))
        y = with_grad(torch.zeros(4), torch.tensor([1.0, 2, 3, 4]))
        top = [lambda *a, q=q, **k: TopQGradientOptimizer(*a, q=q, **k) for q in (0.25, 0.5)]
        with pytest.raises(TypeError, match="must be classes or partials"):
            ChainedParamTransformingOptimizer(*top, params=[x])
        optim = ChainedParamTransformingOptimizer(
            *(partial(TopQGradientOptimizer, q=q) for q in (0.25, 0.5)),
            params=[{"params": [x]}, {"params": [y], "q_2": 0.75}],
            param_ndim=None,
        )
        assert (optim.param_groups[0]["q"], optim.param_groups[0]["q_2"]) == (0.25, 0.5)
        optim.step()
        kept = [int(p.grad.count_nonzero()) for p in (x, y) if p.grad is not None]
        assert kept == [2, 1]

    def test_chained_parts_with_links_are_refused(self):
        part = partial(ParamTransformingOptimizer, transforms=[T.sign()])
        with pytest.raises(TypeError, match=r"links of ParamTransformingOptimizer.*out of order"):
            ChainedParamTransformingOptimizer(part, params=[torch.zeros(1)])


LAYOUTS = {
    "contiguous": lambda d: torch.randn(2, 3, 4, 5).to(d),
    "transposed": lambda d: torch.randn(5, 4, 3, 2).to(d).permute(3, 2, 1, 0),
    "channels_last": lambda d: torch.randn(2, 3, 4, 5).to(d, memory_format=torch.channels_last),
    "strided": lambda d: torch.randn(2, 3, 4, 10).to(d)[..., ::2],
    "scalar": lambda d: torch.randn(()).to(d),
    "empty": lambda d: torch.randn(0, 3, 4).to(d),
    "vector": lambda d: torch.randn(7).to(d),
}


class TestTensors:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("param_ndim", [0, 1, 2, -1, None])
    def test_every_layout_as_if_contiguous(
        self, layout: str, dtype: torch.dtype, param_ndim: int | None
    ):
        torch.manual_seed(0)
        chain = [T.top_q(q=0.5), T.l2_norm(), T.l2_ball(radius=0.5), T.l1_ball(radius=0.4)]
        x = LAYOUTS[layout](dtype)
        x.grad = LAYOUTS[layout](dtype)
        twin = x.contiguous().clone(memory_format=torch.contiguous_format)
        twin.grad = x.grad.contiguous().clone(memory_format=torch.contiguous_format)
        before = (x.grad.data_ptr(), x.grad.stride(), x.data_ptr(), x.stride())
        for p in (x, twin):
            optim = ClampedGradientOptimizer(
                [p],
                clamp_max=1.0,
                lr=0.1,
                param_ndim=param_ndim,
                strict_ndim=False,
                transforms=chain,
            )
            optim.step()
        assert (x.grad.data_ptr(), x.grad.stride(), x.data_ptr(), x.stride()) == before
        tolerance: Any = {"rtol": TOLERANCE[dtype], "atol": 1e-6}
        torch.testing.assert_close(x, twin, **tolerance)
        torch.testing.assert_close(x.grad, twin.grad, **tolerance)

    def test_to_batch_copies_where_no_view_is_possible(self):
        x = torch.arange(24.0).view(2, 3, 4).permute(2, 1, 0)
        x.grad = x.clone()
        batch = to_batch(x, 0)
        assert batch.shape == (24, 1)
        assert batch.grad is not None
        assert torch.equal(batch.view(x.shape), x)

    def test_sparse_gradients_elementwise(self):
        table = nn.Embedding(5, 2, sparse=True)
        with torch.no_grad():
            table.weight.zero_()
        chain = [T.clamp(min=-2.0, max=2.0), T.sign()]
        optim = ParamTransformingOptimizer(table.parameters(), lr=1.0, transforms=chain)
        (table(torch.tensor([1, 1, 3])) * 10).sum().backward()
        optim.step()
        assert table.weight.tolist() == [[0, 0], [-1, -1], [0, 0], [-1, -1], [0, 0]]

    def test_sparse_gradients_are_coalesced_first(self):
        x = with_grad(torch.zeros(3))
        x.grad = torch.sparse_coo_tensor(
            torch.tensor([[1, 1]]), torch.tensor([5.0, -7.0]), (3,), check_invariants=True
        )
        ParamTransformingOptimizer([x], lr=1.0, grad_scale=2.0, transforms=[T.sign()]).step()
        assert x.tolist() == [0, 2, 0]

    def test_sparse_gradients_under_names_of_ours(self):
        x = with_grad(torch.zeros(3, 2))
        x.grad = 5 * torch.eye(3, 2).to_sparse()
        SignedGradientOptim([x], lr=1.0).step()
        assert torch.equal(x.detach(), -torch.eye(3, 2))

    def test_sparse_gradients_refused_by_others(self):
        class Own(SignedGradientOptim):
            def _pre_step_transform_(self, param: Tensor, optim_group: Any = None) -> None:
                super()._pre_step_transform_(param, optim_group)

        x = with_grad(torch.zeros(3, 2))
        x.grad = torch.eye(3, 2).to_sparse()
        with pytest.raises(ValueError, match=r"`l2_norm` cannot act on the sparse gradient"):
            ParamTransformingOptimizer([x], transforms=[T.l2_norm()]).step()
        with pytest.raises(ValueError, match=r"Own._pre.*sparse gradient"):
            Own([x]).step()


class TestBadInput:
    def test_params_missing(self):
        with pytest.raises(TypeError, match="`params` must be given"):
            ParamTransformingOptimizer()

    def test_not_an_optimizer(self):
        with pytest.raises(TypeError, match="`InnerOpt` must be an optimizer class"):
            ParamTransformingOptimizer([torch.zeros(1)], InnerOpt="sgd")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must build a torch Optimizer, got list"):
            ParamTransformingOptimizer([torch.zeros(1)], InnerOpt=list)  # type: ignore[arg-type]

    def test_settings_of_a_built_inner(self):
        x = torch.zeros(1)
        with pytest.raises(TypeError, match=r"SGD that is built already.*'lr': 0.1.*would be lost"):
            ParamTransformingOptimizer([x], SGD([x]), lr=0.1)
        with pytest.raises(ValueError, match="`params` are not those of the built SGD"):
            ParamTransformingOptimizer([torch.ones(1)], SGD([x]))

    def test_nested(self):
        with pytest.raises(TypeError, match="must not be a transforming optimizer itself"):
            ParamTransformingOptimizer([torch.zeros(1)], SignedGradientOptim)

    @pytest.mark.parametrize("params", [[], torch.zeros(1)])
    def test_torch_says_what_is_wrong_with_params(self, params: Any):
        with pytest.raises(
            (ValueError, TypeError), match=r"empty parameter list|iterable of Tensor"
        ):
            ParamTransformingOptimizer(params)

    def test_inner_settings(self):
        with pytest.raises(ValueError, match=r"`lr` of SGD must be a number >= 0, got -1"):
            ParamTransformingOptimizer([torch.zeros(1)], lr=-1)
        with pytest.raises(TypeError, match=r"SGD has no setting `momentun` \(=0.9\).*`momentum`"):
            ParamTransformingOptimizer([torch.zeros(1)], momentun=0.9)
        with pytest.raises(TypeError, match="`lr` of SGD must be a number >= 0, got 'high'"):
            ParamTransformingOptimizer([torch.zeros(1)], lr="high")

    @pytest.mark.parametrize(
        ("cls", "settings", "message"),
        [
            (L2ProjectedOptim, {}, "`epsilon` must be given: L2ProjectedOptim"),
            (
                L2ProjectedOptim,
                {"epsilon": -1.0},
                "`epsilon`.*must be a number >= 0, or a tensor of such, got -1",
            ),
            (TopQGradientOptimizer, {"q": 1.5}, r"`q`.*in \[0, 1\], got 1.5"),
            (TopQGradientOptimizer, {"q": 0.5, "dq": "a"}, "`dq`.*got 'a'"),
            (TopQGradientOptimizer, {"q": 0.5, "generator": 3}, "`generator` must be a torch"),
            (ClampedGradientOptimizer, {}, "`clamp_min` or `clamp_max` must be given"),
            (ClampedGradientOptimizer, {"clamp_min": 2, "clamp_max": 1}, "must not exceed"),
            (FrankWolfe, {"lr": 2.0, "use_default_lr_schedule": False}, r"in \[0, 1\]"),
            (FrankWolfe, {"use_default_lr_schedule": 3}, "must be a bool, got 3"),
            (FrankWolfe, {"lmo_scaling_factor": "a"}, "must be a number, got 'a'"),
        ],
    )
    def test_named(self, cls: Any, settings: dict[str, Any], message: str):
        with pytest.raises((ValueError, TypeError), match=message):
            cls([torch.zeros(2)], **settings)


def test_every_unknown_setting_of_the_inner_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"Adam has no setting `momentum` \(=0\)"):
        ParamTransformingOptimizer([torch.zeros(1)], Adam, momentum=0)


def test_repr_shows_inner_optimizer_and_chain():
    optim = ChainedParamTransformingOptimizer(
        partial(TopQGradientOptimizer, q=0.5), SignedGradientOptim, params=[torch.zeros(1)]
    )
    assert repr(optim).startswith("SignedGradientOptim ○ TopQGradientOptimizer [SGD](")
    assert "q: 0.5" in repr(optim)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_scale_and_bias_are_exact_in_every_dtype(dtype: torch.dtype):
    x = torch.zeros(1000, dtype=dtype, requires_grad=True)
    x.grad = torch.linspace(1, 2, 1000).to(dtype)
    expected = (x.grad * 0.9).add(0.1)
    ParamTransformingOptimizer([x], lr=0.1, grad_scale=0.9, grad_bias=0.1).step()
    assert torch.equal(x.grad, expected)


def test_is_an_optimizer_to_every_scheduler():
    x = torch.full((2,), 9.0, requires_grad=True)
    optim = ParamTransformingOptimizer([x], lr=1.0, transforms=[T.sign()])
    assert isinstance(optim, Optimizer)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optim, lambda epoch: 0.1**epoch)
    moves = []
    for _ in range(3):
        before = x.detach().clone()
        stepped(optim, x, 1)
        scheduler.step()
        moves.append((x.detach() - before).abs().max().item())
    assert moves == pytest.approx([1.0, 0.1, 0.01], rel=1e-4)
