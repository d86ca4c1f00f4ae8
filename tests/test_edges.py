"""Corners that a critical read found; each was wrong once."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam

from xformopt import optim as O
from xformopt import recipes, testing, transform
from xformopt import transforms as T
from xformopt.optim.frank_wolfe import duality_gap
from xformopt.optim.leftovers import without_leftovers
from xformopt.transforms import registry


def with_grad(x: Tensor, grad: Tensor) -> Tensor:
    x.grad = grad
    return x


class TestNorms:
    @pytest.mark.parametrize("size", [1e-30, 1e-25, 1e-12, 1.0, 1e19, 1e30])
    @pytest.mark.parametrize("name", ["l1_norm", "l2_norm", "row_norm", "column_norm", "rms_norm"])
    def test_neither_vanish_nor_overflow(self, name: str, size: float):
        x = torch.tensor([[3.0, -4.0]])
        y = x * size
        T.get(name).fn(x)
        T.get(name).fn(y)
        torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("size", [1e19, 3e30])
    def test_balls_are_reached_from_afar(self, size: float):
        x, rows = torch.tensor([[0.6, 0.8]]) * size, torch.tensor([[[0.6, 0.8]]]) * size
        T.l2_ball.fn(x, radius=5.0)
        T.max_norm.fn(rows, radius=5.0)
        torch.testing.assert_close(x, torch.tensor([[3.0, 4.0]]))
        torch.testing.assert_close(rows, torch.tensor([[[3.0, 4.0]]]))

    def test_clip_norm_of_a_high_order(self):
        x = torch.full((1, 2), 1e-14)
        T.clip_norm.fn(x, max_norm=1e-15, ord=6.0)
        assert x.norm(6).item() == pytest.approx(1e-15, rel=1e-4)

    def test_standardize_makes_a_constant_zero(self):
        x = torch.full((1, 7), 0.3)
        T.standardize.fn(x)
        assert x.tolist() == [[0.0] * 7]

    @pytest.mark.parametrize("size", [1e-22, 1e22])
    def test_orthogonal_to_param_of_any_size(self, size: float):
        g = torch.tensor([[3.0, 4.0]])
        T.orthogonal_to_param.fn(g, torch.tensor([[0.0, 1.0]]) * size)
        torch.testing.assert_close(g, torch.tensor([[5.0, 0.0]]))


class NoKeywords(O.ParamTransformingOptimizer):
    """A part as rai-toolbox users write it: a fixed signature, and a look at its parameters."""

    def __init__(self, params: Any, InnerOpt: Any = SGD) -> None:
        super().__init__(params, InnerOpt)
        self.center = [p.detach().clone() for p in params]
        self.rate = self.param_groups[0]["lr"]

    def _post_step_transform_(self, param: Tensor, optim_group: Any) -> None:
        optim_group["count"] = optim_group.get("count", 0) + 1


class TestChained:
    def test_takes_transforms_of_its_own(self):
        x = with_grad(torch.zeros(1, 2), torch.tensor([[4.0, -8.0]]))
        optim = O.L1qNormedGradientOptim([x], q=0.0, lr=1.0, transforms=[T.clamp(max=0.25)])
        optim.add_param_group({"params": [torch.zeros(1, 2)]})
        optim.step()
        assert x.tolist() == [[-0.25, 0.5]]

    def test_not_strict_holds_for_its_parts(self):
        x = with_grad(torch.zeros(3), torch.tensor([3.0, 4.0, 0.0]))
        part = partial(O.L2NormedGradientOptim)
        optim = O.ChainedParamTransformingOptimizer(
            part, params=[x], param_ndim=2, strict_ndim=False, lr=1.0
        )
        optim.step()
        assert optim.param_groups[0]["param_ndim"] == 2
        torch.testing.assert_close(x, torch.tensor([-0.6, -0.8, 0.0]))

    def test_parts_see_the_real_parameters_and_groups(self):
        x = with_grad(torch.ones(2), torch.ones(2))
        optim = O.ChainedParamTransformingOptimizer(NoKeywords, params=[x], lr=0.25)
        ((part, _),) = optim._parts
        assert isinstance(part, NoKeywords)
        assert part.rate == 0.25
        assert part.center[0].tolist() == [1, 1]
        optim.step()
        assert optim.param_groups[0]["count"] == 1

    def test_hooks_write_through_renamed_groups(self):
        class Decaying(O.TopQGradientOptimizer):
            def _pre_step_transform_(self, param: Tensor, optim_group: Any) -> None:
                optim_group["q"] = optim_group["q"] / 2

        x = with_grad(torch.zeros(4), torch.ones(4))
        optim = O.ChainedParamTransformingOptimizer(
            partial(Decaying, q=0.8), partial(Decaying, q=0.4), params=[x]
        )
        optim.step()
        assert (optim.param_groups[0]["q"], optim.param_groups[0]["q_2"]) == (0.4, 0.2)


class TestNamed:
    def test_a_norm_of_ones_own(self):
        class MaxNormed(O.L2NormedGradientOptim):
            def per_datum_norm(self, x: Tensor) -> Tensor:
                return x.abs().amax(1)

        class Cubic(O.L2NormedGradientOptim):
            _p = 3

        for cls, order in ((MaxNormed, float("inf")), (Cubic, 3)):
            x = with_grad(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
            cls([x], lr=1.0).step()
            assert x.norm(order).item() == pytest.approx(1)

    @pytest.mark.parametrize("epsilon", [-1.0, float("nan"), "a"])
    def test_frank_wolfe_checks_its_radius(self, epsilon: Any):
        with pytest.raises((ValueError, TypeError), match="`epsilon` of `L2FrankWolfe` must be"):
            O.L2FrankWolfe([torch.zeros(1)], epsilon=epsilon)


class TestState:
    def test_a_checkpoint_of_a_bare_optimizer_loads(self):
        x = with_grad(torch.zeros(2), torch.ones(2))
        optim = O.ParamTransformingOptimizer([x], grad_scale=2.0)
        optim.load_state_dict(SGD([torch.zeros(2)], lr=0.5).state_dict())
        optim.step()
        assert x.tolist() == [-1, -1]

    def test_an_inner_step_that_fails_keeps_link_state(self):
        class Failing(SGD):
            def step(self, closure: Any = None) -> Any:
                raise RuntimeError("out of memory")

        x = with_grad(torch.zeros(2), torch.ones(2))
        optim = O.ParamTransformingOptimizer([x], Failing, transforms=[T.ema()])
        with pytest.raises(RuntimeError, match="out of memory"):
            optim.step()
        assert "ema" in optim.state_dict()["state"][0]

    def test_a_setting_made_wrong_later_is_caught(self):
        x = with_grad(torch.zeros(1, 2), torch.ones(1, 2))
        optim = O.ParamTransformingOptimizer([x], transforms=[T.clip_norm()])
        optim.param_groups[0]["clip_norm.max_norm"] = -1.0
        with pytest.raises(ValueError, match="`max_norm` of `clip_norm` must be a number >= 0"):
            optim.step()

    def test_scope_of_the_whole_optimizer_has_one_setting(self):
        groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}]
        groups[1]["clip_total_norm.max_norm"] = 0.5  # type: ignore[assignment]
        with pytest.raises(ValueError, match=r"`clip_total_norm.max_norm` cannot differ by group"):
            O.ParamTransformingOptimizer(groups, transforms=[T.clip_total_norm()])
        with pytest.raises(TypeError, match="`clip_total_norm` acts on all gradients at once"):
            T.clip_total_norm(param_ndim=1)

    def test_a_counter_is_named_step(self):
        with pytest.raises(ValueError, match="a counter must be named `step`"):

            @T.transform(state={"count": "counter"})
            def counts(grad: Tensor, count: Tensor) -> None: ...

    def test_stateful_elementwise_refuses_sparse_gradients(self):
        @T.transform(elementwise=True, state=("sums",))
        def sums_up(grad: Tensor, sums: Tensor) -> None: ...

        try:
            x = with_grad(torch.zeros(3, 2), torch.eye(3, 2).to_sparse())
            with pytest.raises(ValueError, match="`sums_up` cannot act on the sparse gradient"):
                O.ParamTransformingOptimizer([x], transforms=[sums_up()]).step()
        finally:
            T.remove("sums_up")

    def test_the_duality_gap_refuses_state(self):
        x = with_grad(torch.zeros(2), torch.ones(2))
        optim = O.ParamTransformingOptimizer([x], O.FrankWolfe, transforms=[T.ema(), T.sign()])
        with pytest.raises(ValueError, match=r"links with state, \['ema'\], make no oracle"):
            duality_gap(optim)


class TestRouted:
    def build(self, layer: nn.Linear, chain: Any = None) -> O.RoutedOptimizer:
        routes = {"matrices": O.Route(ndim=2, transforms=chain or [T.sign()]), "rest": O.Route()}
        return O.RoutedOptimizer(layer.named_parameters(), routes)

    def test_added_groups_stand_last(self):
        optim = self.build(nn.Linear(2, 3))
        extra = nn.Parameter(torch.zeros(2, 2))
        optim.add_param_group({"params": [("extra", extra)], "route": "matrices"})
        assert [g["param_names"] for g in optim.param_groups] == [["weight"], ["bias"], ["extra"]]
        optim.load_state_dict(optim.state_dict())
        assert [g["param_names"] for g in optim.param_groups] == [["weight"], ["bias"], ["extra"]]

    def test_a_parameter_has_one_route(self):
        layer = nn.Linear(2, 3)
        optim = self.build(layer)
        with pytest.raises(ValueError, match="in a route already"):
            optim.add_param_group({"params": [("again", layer.weight)], "route": "rest"})
        assert len(optim.param_groups) == 2

    def test_loading_another_chain_is_refused(self):
        layer = nn.Linear(2, 3)
        saved = self.build(layer, [T.ema(), T.sign()]).state_dict()
        with pytest.raises(ValueError, match=r"another chain.*ema.decay"):
            self.build(layer).load_state_dict(saved)

    def test_lbfgs_is_refused(self):
        layer = nn.Linear(2, 3)
        with pytest.raises(ValueError, match="route `all`: LBFGS evaluates the loss itself"):
            O.RoutedOptimizer(layer.named_parameters(), {"all": O.Route(inner=LBFGS)})

    def test_an_unknown_link_of_a_recipe_with_routes(self):
        with pytest.raises(ValueError, match="recipe `muon` has no transform `emma`: did you mean"):
            recipes.build("muon", nn.Linear(2, 3).named_parameters(), {"emma": {}})


def test_leftovers_of_a_config_are_told_from_mistakes():
    def defaults(cls: Any) -> dict[str, Any]:
        arguments = inspect.signature(cls).parameters
        return {k: a.default for k, a in arguments.items() if k != "params"}

    def takes_all(params: Any, lr: float, **settings: Any) -> Any: ...

    left: Any = without_leftovers(partial(Adam, **defaults(SGD)))
    assert "momentum" not in left.keywords
    wrong: Any = without_leftovers(partial(Adam, **{**defaults(SGD), "momentum": 0.9}))
    assert wrong.keywords["momentum"] == 0.9
    added: Any = without_leftovers(partial(Adam, **defaults(Adam), momentum=0))
    assert "momentum" in added.keywords
    whole: Callable[..., Any] = partial(takes_all, **defaults(Adam))
    assert without_leftovers(whole) is whole


class TestLauncher:
    def test_a_sweep_with_a_diverged_job_has_its_row(self, cli: Any):
        result = cli(
            "-m",
            "task=rosenbrock",
            "optim/inner=sgd",
            "optim/transforms=[]",
            "optim.inner.lr=1e30,1e-4",
            "trainer.steps=1",
            "seed=0,1",
        )
        assert result.status == 1
        lines = (result.folder / "leaderboard.csv").read_text().splitlines()
        assert len(lines) == 3
        assert "diverged" in lines[2]
        assert ",2/2," in lines[1]


def test_a_link_called_as_a_buffer_of_the_inner_optimizer():
    x = torch.ones(2, requires_grad=True)
    optim = O.ParamTransformingOptimizer(
        [x], torch.optim.Adam, transforms={"exp_avg": T.momentum()}
    )
    x.grad = torch.ones(2)
    with pytest.raises(ValueError, match=r"the links \['exp_avg'\] are called as the inner"):
        optim.step()


def test_a_position_instead_of_a_name():
    with pytest.raises(TypeError, match="`top_q` takes its settings by name, q=…, dq=…"):
        T.top_q(0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_orthogonalize_of_extreme_gradients(size: float):
    g = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected, extreme = g.clone(), g * size
    T.orthogonalize.fn(expected, eps=0.0)
    T.orthogonalize.fn(extreme, eps=0.0)
    torch.testing.assert_close(extreme, expected, rtol=1e-4, atol=1e-4)


def test_the_kit_takes_settings():
    @transform(laws=("idempotent",))
    def keep(grad: Tensor, *, share: float) -> None:
        grad.mul_(share)

    try:
        testing.check_transform(keep, share=0.0)
        with pytest.raises(AssertionError, match="`keep` breaks the law `idempotent`"):
            testing.check_transform(keep, share=0.5)
        with pytest.raises(TypeError, match="`keep` needs a value for `share`"):
            testing.check_transform(keep)
    finally:
        registry.remove("keep")
