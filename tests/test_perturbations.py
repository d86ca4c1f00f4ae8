"""Perturbations: the names of rai-toolbox 0.2.1 give its numbers; its slips are mended."""

import inspect
from functools import partial
from typing import Any

import pytest
import rai_toolbox
import rai_toolbox.optim as rai_optim
import rai_toolbox.perturbations as rai
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import xformopt
import xformopt.optim as our_optim
import xformopt.perturbations as ours
from xformopt.refused import Refused

STARTS = [f"uniform_like_{norm}_n_ball_" for norm in ("l1", "l2", "linf")]
ORDERS = {"uniform_like_l1_n_ball_": 1.0, "uniform_like_l2_n_ball_": 2.0}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "L2ProjectedOptim": {"epsilon": 0.5, "lr": 0.1},
    "LinfProjectedOptim": {"epsilon": 0.5, "lr": 0.1, "InnerOpt": torch.optim.Adam},
    "L1qFrankWolfe": {"epsilon": 0.5, "q": 0.5},
    "LinfFrankWolfe": {"epsilon": 0.5},
}
CLOSE = {"L2ProjectedOptim": 1e-6}
"""Whose projection rai-toolbox makes 1e-7 too short."""

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**16)


def drawn(module: Any, name: str, shape: tuple[int, ...], seed: int, **settings: Any) -> Tensor:
    x = torch.zeros(shape)
    getattr(module, name)(x, generator=torch.Generator().manual_seed(seed), **settings)
    return x


def problem(seed: int = 0) -> dict[str, Any]:
    """A network in training mode, and images with labels."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(), nn.Tanh(), nn.Linear(8, 3))
    return {"model": net, "data": torch.rand(6, 3, 4), "target": torch.randint(3, (6,))}


def test_has_every_name_with_its_arguments():
    assert set(rai.__all__) <= set(ours.__all__)
    assert {"evaluating", "freeze", "frozen", "negate", "to_batch"} <= set(xformopt.__all__)
    for name in ("gradient_ascent", "random_restart", *STARTS, "AdditivePerturbation"):
        theirs, own = (inspect.signature(getattr(m, name)).parameters for m in (rai, ours))
        assert [(k, a.kind, shown(a.default)) for k, a in theirs.items()] == [
            (k, a.kind, shown(a.default)) for k, a in own.items()
        ]


def shown(default: Any) -> Any:
    """A default; of a class, its name."""
    return getattr(default, "__name__", default)


class TestStarts:
    @given(name=st.sampled_from(STARTS), shape=shapes, seed=seeds, data=st.data())
    def test_are_those_of_rai_toolbox(
        self, name: str, shape: tuple[int, ...], seed: int, data: Any
    ):
        ndim = data.draw(st.none() | st.integers(-len(shape), len(shape)))
        expected = drawn(rai, name, shape, seed, epsilon=0.7, param_ndim=ndim)
        assert torch.equal(drawn(ours, name, shape, seed, epsilon=0.7, param_ndim=ndim), expected)

    @pytest.mark.parametrize("name", STARTS)
    def test_fill_the_ball(self, name: str):
        order = ORDERS.get(name, torch.inf)
        sizes = drawn(ours, name, (4000, 2), 0, epsilon=3.0).norm(order, dim=1)
        assert (sizes <= 3 * (1 + 1e-6)).all()
        within_half = (sizes < 1.5).float().mean()
        assert within_half.item() == pytest.approx(0.25, abs=0.03)  # as the area is

    @pytest.mark.parametrize("name", STARTS)
    @pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), "1", True])
    def test_refuse_what_is_no_radius(self, name: str, epsilon: Any):
        for module, kind in ((ours, Refused), (rai, (ValueError, TypeError, AssertionError))):
            if module is rai and (epsilon != epsilon or epsilon is True):
                continue  # which it takes for numbers
            with pytest.raises(kind, match="epsilon"):
                drawn(module, name, (2, 2), 0, epsilon=epsilon)


class TestAdditive:
    @given(shape=shapes, data=st.data())
    def test_shapes_are_those_of_rai_toolbox(self, shape: tuple[int, ...], data: Any):
        ndim = data.draw(st.none() | st.integers(-len(shape), len(shape)))
        x = torch.rand(shape, dtype=torch.float64)
        own, theirs = (m.AdditivePerturbation(x, delta_ndim=ndim) for m in (ours, rai))
        assert own.delta.shape == theirs.delta.shape
        assert own.delta.dtype == torch.float64
        assert torch.equal(own(x), x)
        assert isinstance(own, ours.PerturbationModel)

    def test_starts_where_it_is_told(self):
        made = ours.AdditivePerturbation((2, 3), nn.init.constant_, dtype=torch.float16, val=2.0)
        assert torch.equal(made.delta, torch.full((2, 3), 2.0, dtype=torch.float16))

    @pytest.mark.parametrize("ndim", [3, -3, 1.0])
    def test_refuses_dimensions_that_are_not_there(self, ndim: Any):
        with pytest.raises(Refused, match="`delta_ndim` must be an int from -2 to 2"):
            ours.AdditivePerturbation((2, 3), delta_ndim=ndim)

    def test_refuses_settings_of_no_start(self):
        with pytest.raises(Refused, match="`init_fn` must be given beside its settings"):
            ours.AdditivePerturbation((2, 3), val=2.0)


class TestGradientAscent:
    @pytest.mark.parametrize("targeted", [False, True])
    @pytest.mark.parametrize("use_best", [False, True])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.filterwarnings("ignore")
    def test_gives_the_numbers_of_rai_toolbox(self, name: str, use_best: bool, targeted: bool):
        settings = {"steps": 7, "use_best": use_best, "targeted": targeted, **OPTIMIZERS[name]}
        found = []
        for module, optim in ((rai, rai_optim), (ours, our_optim)):
            torch.manual_seed(3)
            start = partial(
                module.AdditivePerturbation, init_fn=module.uniform_like_l2_n_ball_, epsilon=0.3
            )
            found.append(
                module.gradient_ascent(
                    **problem(),
                    optimizer=getattr(optim, name),
                    perturbation_model=start,
                    **settings,
                )
            )
        off = CLOSE.get(name, 0.0)
        for own, theirs in zip(*found, strict=True):
            torch.testing.assert_close(own, theirs, rtol=off, atol=off)

    def test_moves_a_built_perturbation(self):
        held = problem()
        moved = ours.AdditivePerturbation(held["data"])
        optim = torch.optim.SGD(moved.parameters(), lr=1.0)
        data, _ = ours.gradient_ascent(**held, optimizer=optim, perturbation_model=moved, steps=2)
        assert torch.equal(data, held["data"] + moved.delta)
        assert moved.delta.grad is None

    def test_the_best_of_all_steps(self):
        def closeness(x: Tensor, target: Tensor) -> Tensor:
            return -(x - target).abs()

        settings = {"optimizer": torch.optim.SGD, "lr": 0.25, "steps": 3, "criterion": closeness}
        (last, _), (best, loss) = (
            ours.gradient_ascent(
                model=lambda x: x, data=[0.0, 0.0], target=[0.4375, 9.0], use_best=use, **settings
            )
            for use in (False, True)
        )
        assert last.tolist() == [0.25, 0.75]
        assert best.tolist() == [0.5, 0.75]
        assert loss.tolist() == [-0.0625, -8.25]

    def test_leaves_model_and_data_as_they_were(self):
        held = problem()
        held["data"].requires_grad_()
        held["model"][0].eval()
        modes = [module.training for module in held["model"].modules()]
        ours.gradient_ascent(**held, optimizer=torch.optim.SGD, lr=0.1, steps=1)
        assert held["data"].requires_grad
        assert held["data"].grad is None
        assert [module.training for module in held["model"].modules()] == modes
        assert all(p.requires_grad and p.grad is None for p in held["model"].parameters())

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"optimizer": 3}, "`optimizer` must be an optimizer, its class, or a partial of it"),
            ({"optimizer": lambda params: 3}, "`optimizer` must be what makes an optimizer, got 3"),
            ({"perturbation_model": 3}, "`perturbation_model` must be a perturbation, which is"),
            (
                {"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0)},
                "`optimizer` must be the class beside the class of a perturbation",
            ),
            (
                {
                    "optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0),
                    "perturbation_model": ours.AdditivePerturbation((6, 3, 4)),
                    "lr": 1.0,
                },
                "`optimizer` must be the class beside its settings, lr, got 'a built SGD'",
            ),
            (
                {"use_best": True, "criterion": nn.CrossEntropyLoss()},
                r"`criterion` must be one that gives a loss for each item, \(6,\), beside",
            ),
        ],
    )
    def test_refuses(self, more: dict[str, Any], said: str):
        settings = {"optimizer": torch.optim.SGD, "steps": 1, **more}
        with pytest.raises(Refused, match=said):
            ours.gradient_ascent(**problem(), **settings)


class TestRandomRestart:
    @pytest.mark.parametrize("targeted", [False, True])
    def test_gives_the_numbers_of_rai_toolbox(self, targeted: bool):
        found = []
        for module in (rai, ours):
            torch.manual_seed(5)
            start = partial(module.AdditivePerturbation, init_fn=module.uniform_like_linf_n_ball_)
            solver = module.random_restart(module.gradient_ascent, 4)
            held = problem()
            settings = {"steps": 2, "optimizer": torch.optim.SGD, "lr": 0.1, "targeted": targeted}
            torch.manual_seed(5)
            found.append(solver(**held, perturbation_model=start, **settings))
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])

    @pytest.mark.parametrize("repeats", [0, 1.5, True])
    def test_refuses(self, repeats: Any):
        with pytest.raises(Refused, match="`repeats` must be an int >= 1"):
            ours.random_restart(ours.gradient_ascent, repeats)


class TestModes:
    def test_modules_are_put_back_one_by_one(self):
        """In rai-toolbox all of them train after, where the outer one did before."""
        for module, expected in ((rai_toolbox, True), (ours, False)):
            net = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
            net[0].eval()
            with module.evaluating(net):
                assert not net.training
            assert net[0].training is expected
            assert net.training

    @pytest.mark.parametrize("kind", ["tensor", "module", "optimizer", "groups", "several"])
    def test_frozen_whatever_holds_them(self, kind: str):
        net = nn.Linear(2, 2)
        net.bias.requires_grad_(False)
        optim = torch.optim.SGD(net.parameters(), lr=0.1)
        items = {
            "tensor": net.weight,
            "module": net,
            "optimizer": optim,
            "groups": optim.param_groups,
            "several": [net.weight, net.bias],
        }

        @ours.frozen(items[kind])
        def asks() -> bool:
            return net.weight.requires_grad

        assert net.weight.requires_grad
        assert not asks()
        assert net.weight.requires_grad
        assert not net.bias.requires_grad

    def test_a_block_may_be_entered_again(self):
        net = nn.Linear(2, 2)
        for block in (ours.frozen(net), ours.evaluating(net)):
            for _ in range(2):
                with block:
                    assert not (net.training and net.weight.requires_grad)
                assert net.training
                assert net.weight.requires_grad

    def test_refuses_what_holds_no_tensors(self):
        with pytest.raises(Refused, match="`items` must be tensors, modules, optimizers or"):
            ours.freeze(3)
