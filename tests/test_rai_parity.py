"""rai-toolbox 0.2.1 is the oracle: same names, same arguments, same numbers."""

import inspect
import warnings
from functools import partial
from typing import Any

import pytest
import rai_toolbox.optim as rai
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rai_toolbox._utils import to_batch as rai_to_batch
from torch import Tensor

import xformopt.optim as ours

EXACT: dict[str, dict[str, Any]] = {
    "ParamTransformingOptimizer": {},
    "SignedGradientOptim": {},
    "L1NormedGradientOptim": {},
    "L2NormedGradientOptim": {},
    "LinfProjectedOptim": {"epsilon": 0.7},
    "ClampedGradientOptimizer": {"clamp_min": -0.5, "clamp_max": 0.25},
    "ClampedParameterOptimizer": {"clamp_max": 0.25},
    "TopQGradientOptimizer": {"q": 0.6},
    "L1qNormedGradientOptim": {"q": 0.3},
}
FRANK_WOLFE: dict[str, dict[str, Any]] = {
    "FrankWolfe": {"lmo_scaling_factor": 2.0},
    "L2FrankWolfe": {"epsilon": 2.0},
    "LinfFrankWolfe": {"epsilon": 2.0},
    "L1qFrankWolfe": {"epsilon": 2.0, "q": 0.6},
}
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**16)


def param_ndims(shape: tuple[int, ...]) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(-len(shape), len(shape))


def trajectory(module: Any, name: str, shape: tuple[int, ...], seed: int, **kwargs: Any) -> Tensor:
    """Make three steps from the same start with the same gradients; return all that was seen."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).requires_grad_()
    optim = getattr(module, name)([x], **kwargs)
    seen = []
    for _ in range(3):
        x.grad = torch.randn(shape, generator=generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rai's storage comparison warns
            optim.step()
        seen += [x.detach().clone(), x.grad.clone()]
    return torch.stack(seen)


def test_has_every_name():
    assert set(rai.__all__) <= set(ours.__all__)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data(), shape=shapes, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_bit(name: str, data: st.DataObject, shape: tuple[int, ...], seed: int):
    kwargs = {**EXACT[name], "param_ndim": data.draw(param_ndims(shape)), "lr": 0.1}
    kwargs["InnerOpt"] = data.draw(st.sampled_from([torch.optim.SGD, torch.optim.AdamW]))
    kwargs["grad_scale"], kwargs["grad_bias"] = data.draw(st.sampled_from([(1, 0), (0.5, 0.1)]))
    theirs = trajectory(rai, name, shape, seed, **kwargs)
    assert torch.equal(trajectory(ours, name, shape, seed, **kwargs), theirs)


@pytest.mark.parametrize("name", FRANK_WOLFE)
@given(data=st.data(), shape=shapes, seed=seeds, scheduled=st.booleans())
@settings(max_examples=60, deadline=None)
def test_frank_wolfe_equal_to_the_bit(
    name: str, data: st.DataObject, shape: tuple[int, ...], seed: int, scheduled: bool
):
    kwargs = {**FRANK_WOLFE[name], "use_default_lr_schedule": scheduled, "lr": 0.5}
    if name != "FrankWolfe":
        kwargs["param_ndim"] = data.draw(param_ndims(shape))
    theirs = trajectory(rai, name, shape, seed, **kwargs)
    assert torch.equal(trajectory(ours, name, shape, seed, **kwargs), theirs)


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), seed=seeds)
@settings(max_examples=60, deadline=None)
def test_l1_frank_wolfe_equal_where_items_are_vectors(rows: int, columns: int, seed: int):
    theirs = trajectory(rai, "L1FrankWolfe", (rows, columns), seed, epsilon=2.0)
    assert torch.equal(trajectory(ours, "L1FrankWolfe", (rows, columns), seed, epsilon=2.0), theirs)


@given(data=st.data(), shape=shapes, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_l2_projected_close(data: st.DataObject, shape: tuple[int, ...], seed: int):
    """rai's renorm stops 1e-7 short of the ball's surface; ours is the exact projection."""
    kwargs = {"param_ndim": data.draw(param_ndims(shape)), "epsilon": 0.7, "lr": 0.1}
    theirs = trajectory(rai, "L2ProjectedOptim", shape, seed, **kwargs)
    assert torch.allclose(
        trajectory(ours, "L2ProjectedOptim", shape, seed, **kwargs), theirs, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["TopQGradientOptimizer", "L1qNormedGradientOptim"])
@given(shape=shapes, seed=seeds, dq=st.floats(0.01, 0.6))
@settings(max_examples=40, deadline=None)
def test_dq_draws_the_same(name: str, shape: tuple[int, ...], seed: int, dq: float):
    theirs, mine = (
        trajectory(
            m, name, shape, seed, q=0.5, dq=dq, lr=0.1, generator=torch.Generator().manual_seed(7)
        )
        for m in (rai, ours)
    )
    assert torch.equal(mine, theirs)


@given(shape=shapes, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_chain_equal_to_the_bit(shape: tuple[int, ...], seed: int):
    def run(module: Any) -> Tensor:
        chained = partial(
            module.ChainedParamTransformingOptimizer,
            partial(module.TopQGradientOptimizer, q=0.33),
            partial(module.ClampedGradientOptimizer, clamp_max=0.8),
            lr=1.0,
            param_ndim=None,
            grad_scale=2.0,
        )
        namespace = type("module", (), {"chain": lambda params: chained(params=params)})
        return trajectory(namespace, "chain", shape, seed)

    assert torch.equal(run(ours), run(rai))


@given(data=st.data(), shape=st.lists(st.integers(1, 4), max_size=4).map(tuple))
@settings(max_examples=100, deadline=None)
def test_to_batch_gives_the_same_shapes(data: st.DataObject, shape: tuple[int, ...]):
    param_ndim = data.draw(param_ndims(shape))
    x = torch.randn(shape)
    theirs = rai_to_batch(x, param_ndim)
    mine = ours.to_batch(x, param_ndim)
    assert mine.shape == theirs.shape
    assert torch.equal(mine, theirs)
    assert mine.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("name", sorted({*EXACT, *FRANK_WOLFE, "L1FrankWolfe", "L2ProjectedOptim"}))
def test_takes_the_same_arguments_with_the_same_defaults(name: str):
    def defaults(module: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for cls in reversed(inspect.getmro(getattr(module, name))):
            if "__init__" in vars(cls) and cls.__module__.startswith(("rai_", "xformopt")):
                found.update(inspect.signature(cls.__init__).parameters)
        keep = {"VAR_KEYWORD", "VAR_POSITIONAL"}
        return {k: a.default for k, a in found.items() if a.kind.name not in keep and k != "self"}

    mine, theirs = defaults(ours), defaults(rai)
    for key, default in inspect.signature(getattr(rai, name)).parameters.items():
        if default.kind.name in ("VAR_KEYWORD", "VAR_POSITIONAL"):
            continue
        if key == "div_by_zero_eps" and name in ("L1FrankWolfe", "LinfFrankWolfe"):
            continue  # handed on to FrankWolfe, whose default is the same
        if key not in ("epsilon", "q", "params"):  # required ones: rai marks them with SGD's lr
            assert mine.get(key, "missing") == theirs[key], key


def test_per_group_settings_mean_the_same():
    def run(module: Any) -> list[Tensor]:
        x, y = torch.zeros(2, 4), torch.zeros(2, 4)
        x.grad = torch.arange(8.0).view(2, 4)
        y.grad = x.grad.clone()
        groups = [{"params": [x], "q": 0.25, "param_ndim": None}, {"params": [y], "grad_scale": 3}]
        optim = module.TopQGradientOptimizer(groups, q=0.75, lr=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            optim.step()
        return [x, y]

    for mine, theirs in zip(run(ours), run(rai), strict=True):
        assert torch.equal(mine, theirs)


class TestWhereRaiIsWrong:
    def test_second_link_keeps_its_settings(self):
        """With q=0 first and q=0.5 second, half the entries must go."""

        def run(module: Any) -> Tensor:
            x = torch.zeros(4)
            x.grad = torch.tensor([1.0, 2.0, 3.0, 4.0])
            optim = module.ChainedParamTransformingOptimizer(
                partial(module.TopQGradientOptimizer, q=0.0),
                partial(module.TopQGradientOptimizer, q=0.5),
                params=[x],
                lr=1.0,
                param_ndim=None,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                optim.step()
            return x.grad

        assert run(rai).tolist() == [1, 2, 3, 4]
        assert run(ours).tolist() == [0, 0, 3, 4]

    def test_l1_frank_wolfe_takes_items_of_any_shape(self):
        x = torch.zeros(2, 3, 4)
        x.grad = torch.randn(2, 3, 4)
        expected = x.grad.flatten(1).abs().argmax(1)
        ours.L1FrankWolfe([x], epsilon=1.0).step()
        assert x.flatten(1).count_nonzero(1).tolist() == [1, 1]
        assert torch.equal(x.flatten(1).abs().argmax(1), expected)

    @pytest.mark.parametrize("name", ["L1NormedGradientOptim", "L2NormedGradientOptim"])
    def test_half_precision_rows_of_zeros_stay_zero(self, name: str):
        x = torch.ones(2, 3, dtype=torch.float16)
        x.grad = torch.tensor([[0.0, 0, 0], [3, 4, 0]], dtype=torch.float16)
        getattr(ours, name)([x], lr=1.0).step()
        assert x.isfinite().all()
        assert x[0].tolist() == [1, 1, 1]
