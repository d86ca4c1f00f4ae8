"""Every example and rule of the specification of `ParamTransformingOptimizer`, executed."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW

from xformopt.optim import ParamTransformingOptimizer

Base: Any = ParamTransformingOptimizer
"""Typed so that hooks may take `**_kwds` for `optim_group`, as the specification's examples do."""


class SignedGradient(Base):
    def _pre_step_transform_(self, param: Tensor, **_kwds: Any) -> None:
        if param.grad is None:
            return
        torch.sign(param.grad, out=param.grad)


class MaxNormed(Base):
    def _pre_step_transform_(self, param: Tensor, **_kwds: Any) -> None:
        if param.grad is None:
            return
        g = param.grad.flatten(1)
        norms = torch.max(g, dim=1).values.view(-1, *([1] * (param.ndim - 1)))
        param.grad /= torch.clamp(norms, 1e-20, None)


class ClampedParam(Base):
    def _post_step_transform_(self, param: Tensor, optim_group: dict[str, Any]) -> None:
        param.clamp_(min=-1.0, max=1.0)


class Recording(Base):
    """Notes the shapes that the hooks see and the order of events."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.events: list[Any] = []
        super().__init__(*args, **kwargs)

    def _pre_step_transform_(self, param: Tensor, optim_group: dict[str, Any]) -> None:
        assert param.grad is not None
        assert param.shape == param.grad.shape
        self.events.append(("pre", tuple(param.shape)))

    def _post_step_transform_(self, param: Tensor, optim_group: dict[str, Any]) -> None:
        self.events.append(("post", tuple(param.shape)))


def with_grad(x: Tensor, grad: Tensor | None = None) -> Tensor:
    x.grad = torch.ones_like(x) if grad is None else grad
    return x


class TestExamples:
    def test_sign_then_adamw(self):
        """The specification prints [-10.9, 8.9]; AdamW's default weight decay gives these."""
        x = torch.tensor([-10.0, 10.0], requires_grad=True)
        optim = SignedGradient([x], InnerOpt=AdamW, lr=0.1)
        (10_000 * x).sum().backward()
        optim.step()
        assert torch.allclose(x, torch.tensor([-10.09, 9.89]))

    @pytest.mark.parametrize(
        ("param_ndim", "expected"),
        [
            (0, [[1.0, 1.0], [1.0, 1.0]]),
            (1, [[0.5, 1.0], [1.0, 0.5]]),
            (2, [[0.05, 0.1], [1.0, 0.5]]),
        ],
    )
    def test_max_norm_by_param_ndim(self, param_ndim: int, expected: list[list[float]]):
        x = torch.tensor([[1.0, 2.0], [20.0, 10.0]], requires_grad=True)
        optim = MaxNormed([x], param_ndim=param_ndim, InnerOpt=SGD, lr=0.0)
        (x * x).sum().backward()
        optim.step()
        assert x.grad is not None
        assert torch.allclose(x.grad, torch.tensor(expected))

    def test_clamped_parameter(self):
        x = torch.tensor([-10.0, 1.0], requires_grad=True)
        optim = ClampedParam([x], lr=0.1)
        x.backward(gradient=torch.tensor([-1.0, 1.0]))
        optim.step()
        assert torch.allclose(x, torch.tensor([-1.0, 0.9]))


class TestParamNdim:
    @pytest.mark.parametrize(
        ("param_ndim", "shape"),
        [
            (0, (120, 1)),
            (1, (24, 5)),
            (-3, (24, 5)),
            (2, (6, 4, 5)),
            (-2, (6, 4, 5)),
            (3, (2, 3, 4, 5)),
            (-1, (2, 3, 4, 5)),
            (4, (1, 2, 3, 4, 5)),
            (None, (1, 2, 3, 4, 5)),
            (-4, (120, 1)),
        ],
    )
    def test_table(self, param_ndim: int | None, shape: tuple[int, ...]):
        x = with_grad(torch.zeros(2, 3, 4, 5))
        optim = Recording([x], param_ndim=param_ndim)
        optim.step()
        assert optim.events == [("pre", shape), ("post", shape)]
        assert x.shape == (2, 3, 4, 5)

    def test_default_is_minus_one(self):
        optim = Recording([with_grad(torch.zeros(2, 3))])
        optim.step()
        assert optim.param_groups[0]["param_ndim"] == -1
        assert optim.events[0] == ("pre", (2, 3))

    def test_is_per_group(self):
        x, y = with_grad(torch.zeros(2, 3)), with_grad(torch.zeros(2, 3))
        optim = Recording([{"params": [x]}, {"params": [y], "param_ndim": 0}], param_ndim=None)
        optim.step()
        assert [shape for _, shape in optim.events] == [(1, 2, 3), (6, 1)] * 2

    def test_too_large_names_the_shape_and_the_way_out(self):
        with pytest.raises(ValueError, match=r"param_ndim=3.*shape \(2, 3\).*strict_ndim=False"):
            ParamTransformingOptimizer([torch.zeros(2, 3)], param_ndim=3)
        with pytest.raises(ValueError, match=r"param_ndim=-3.*shape \(2, 3\)"):
            ParamTransformingOptimizer([torch.zeros(2, 3)], param_ndim=-3)

    def test_not_strict_takes_small_parameters_whole(self):
        params = [
            with_grad(torch.zeros(4)),
            with_grad(torch.zeros(())),
            with_grad(torch.ones(2, 3)),
        ]
        optim = Recording(params, param_ndim=2, strict_ndim=False)
        optim.step()
        assert [shape for _, shape in optim.events[:3]] == [(1, 4), (1, 1), (1, 2, 3)]

    @pytest.mark.parametrize("bad", ["1", 1.0, True])
    def test_must_be_an_int_or_none(self, bad: Any):
        with pytest.raises(TypeError, match="`param_ndim` must be an int or None, got"):
            ParamTransformingOptimizer([torch.zeros(2)], param_ndim=bad)


class TestScaleAndBias:
    def test_come_after_the_transform(self):
        x = with_grad(torch.zeros(2), torch.tensor([5.0, -3.0]))
        SignedGradient([x], lr=1.0, grad_scale=0.5, grad_bias=0.1, param_ndim=None).step()
        assert torch.allclose(x, torch.tensor([-0.6, 0.4]))

    def test_are_per_group(self):
        x, y = with_grad(torch.zeros(2)), with_grad(torch.zeros(2))
        groups = [{"params": [x], "grad_scale": 3.0}, {"params": [y], "grad_bias": -0.5}]
        ParamTransformingOptimizer(groups, lr=1.0).step()
        assert x.tolist() == [-3, -3]
        assert y.tolist() == [-0.5, -0.5]

    @pytest.mark.parametrize("name", ["grad_scale", "grad_bias"])
    def test_must_be_numbers(self, name: str):
        with pytest.raises(TypeError, match=f"`{name}` must be a number, got 'x'"):
            Base([torch.zeros(2)], **{name: "x"})


class TestInner:
    @pytest.mark.parametrize(
        "inner", [Adam, partial(Adam), partial(Adam, eps=1e-8)], ids=["class", "partial", "set"]
    )
    def test_class_or_partial(self, inner: Any):
        x = with_grad(torch.zeros(3))
        optim = ParamTransformingOptimizer([x], inner, lr=0.1)
        optim.step()
        assert isinstance(optim.inner_opt, Adam)
        assert torch.allclose(x, torch.full((3,), -0.1))

    def test_built(self):
        x = with_grad(torch.zeros(3))
        inner = SGD([x], lr=0.5)
        optim = ParamTransformingOptimizer(InnerOpt=inner, grad_scale=2.0)
        optim.step()
        assert optim.inner_opt is inner
        assert x.tolist() == [-1, -1, -1]

    def test_default_is_sgd(self):
        assert isinstance(ParamTransformingOptimizer([torch.zeros(1)]).inner_opt, SGD)

    def test_mirrors_the_same_objects(self):
        x = with_grad(torch.zeros(3))
        optim = ParamTransformingOptimizer([x], Adam)
        optim.step()
        for name in ("param_groups", "defaults", "state"):
            assert getattr(optim, name) is getattr(optim.inner_opt, name)
        optim.param_groups[0]["lr"] = 7.0
        assert optim.inner_opt.param_groups[0]["lr"] == 7.0
        assert optim.defaults["param_ndim"] == -1
        assert optim.state[x]["step"] == 1

    def test_defaults_reach_every_group(self):
        groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "mine": 2}]
        optim = ParamTransformingOptimizer(groups, defaults={"mine": 1, "param_ndim": 0})
        assert [g["mine"] for g in optim.param_groups] == [1, 2]
        assert [g["param_ndim"] for g in optim.param_groups] == [0, 0]


class TestStep:
    def test_closure_runs_before_the_transform_with_grad_enabled(self):
        x = torch.tensor([4.0, -4.0], requires_grad=True)
        optim = SignedGradient([x], lr=1.0, param_ndim=None)

        def closure() -> Tensor:
            optim.zero_grad()
            loss = (100 * x**2).sum()
            loss.backward()
            return loss

        loss = optim.step(closure)
        assert loss.item() == 3200
        assert x.tolist() == [3, -3]

    def test_returns_none_without_closure(self):
        assert ParamTransformingOptimizer([with_grad(torch.zeros(1))]).step() is None

    def test_hooks_surround_the_inner_step(self):
        x = with_grad(torch.zeros(2))
        optim = Recording([x])
        optim.inner_opt.register_step_pre_hook(lambda *_: optim.events.append("inner"))
        optim.step()
        assert optim.events == [("pre", (2, 1)), "inner", ("post", (2, 1))]

    def test_parameters_without_gradient_are_skipped_before_the_step(self):
        optim = Recording([torch.zeros(2)])
        optim.step()
        assert optim.events == [("post", (2, 1))]

    def test_apply_methods_and_project(self):
        x = with_grad(torch.tensor([5.0, -0.5]), torch.tensor([7.0, -7.0]))
        optim = ClampedParam([x], lr=0.1, grad_scale=2.0)
        optim._apply_pre_step_transform_()
        assert x.grad is not None
        assert x.grad.tolist() == [14, -14]
        optim._apply_post_step_transform_()
        assert x.tolist() == [1, -0.5]
        with torch.no_grad():
            x.fill_(9)
        optim.project()
        assert x.tolist() == [1, 1]

    def test_hooks_default_to_no_op(self):
        x, y = with_grad(torch.ones(3)), with_grad(torch.ones(3))
        ParamTransformingOptimizer([x], lr=0.1).step()
        SGD([y], lr=0.1).step()
        assert torch.equal(x, y)

    def test_replacing_the_gradient_is_caught(self):
        class Replacing(Base):
            def _pre_step_transform_(self, param: Tensor, **_: Any) -> None:
                assert param.grad is not None
                param.grad = param.grad * 2

        with pytest.raises(ValueError, match=r"Replacing._pre_step_transform_.*in place"):
            Replacing([with_grad(torch.ones(3))]).step()

    def test_changing_the_shape_is_caught(self):
        class Reshaping(Base):
            def _post_step_transform_(self, param: Tensor, **_: Any) -> None:
                param.data = torch.zeros(7)

        with pytest.raises(ValueError, match=r"Reshaping._post_step_transform_.*changed shape"):
            Reshaping([with_grad(torch.ones(3))]).step()

    def test_changing_the_dtype_is_caught(self):
        class Casting(Base):
            def _pre_step_transform_(self, param: Tensor, **_: Any) -> None:
                param.data = param.double()

        with pytest.raises(ValueError, match=r"Casting._pre_step_transform_.*dtype"):
            Casting([with_grad(torch.ones(3))]).step()
