"""Buffers that a transform keeps for each item, in a shape of their own."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.optim import plans
from xformopt.optim.batching import batch_shape
from xformopt.transforms import PerItem, Transform
from xformopt.transforms.buffers import LEFT, RIGHT, ROWS, SCALAR

SHAPES = [(4, 3), (2, 3), (4, 3), (3,), (5, 2, 3)]


def counting(grad: Tensor, seen: Tensor) -> None:
    """Add to the buffer of each item the square of its norm."""
    seen.add_(grad.flatten(1).square().sum(1).view(-1, *[1] * (seen.ndim - 1)))


def parameters(shapes: Any = SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator) for shape in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)
    return params


def build(params: list[Tensor], own: Transform, **settings: Any) -> ParamTransformingOptimizer:
    settings = {"param_ndim": 1, "strict_ndim": False, "lr": 0.1, **settings}
    return ParamTransformingOptimizer(params, transforms=[own()], **settings)


@pytest.mark.parametrize("slab", [plans.SLAB, 32])
@pytest.mark.parametrize("param_ndim", [None, 0, 1, -1, 2])
@pytest.mark.parametrize("shape", [SCALAR, ROWS, LEFT, RIGHT, PerItem(lambda d: (2, *d))])
def test_many_at_once_are_as_one_by_one(
    shape: PerItem, param_ndim: int | None, slab: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plans, "SLAB", slab)
    monkeypatch.setattr(plans, "SMALL", slab)
    own = Transform(counting, state={"seen": shape})
    together, alone = parameters(), parameters()
    optim = build(together, own, param_ndim=param_ndim)
    others = [build([p], own, param_ndim=param_ndim) for p in alone]
    for _ in range(2):
        for each in (optim, *others):
            each.step()
    for p, q, other in zip(together, alone, others, strict=True):
        ours, theirs = (o.state[x]["counting"]["seen"] for o, x in ((optim, p), (other, q)))
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs)
        if not ours.numel():  # vectors have no square matrix
            continue
        assert p.grad is not None
        items, *_ = batch_shape(p.shape, param_ndim, strict_ndim=False)
        of_items = ours.sum() * items / ours.numel()
        torch.testing.assert_close(of_items, 2 * p.grad.square().sum())


@pytest.mark.parametrize(
    ("param_ndim", "kept"),
    [(1, (5, 4, 1)), (2, (5, 1, 1)), (None, (1, 1, 1)), (0, (5, 4, 3, 1)), (-1, (5, 1, 1))],
)
def test_they_are_kept_as_the_leading_dimensions_are(param_ndim: int | None, kept: tuple[int, ...]):
    params = parameters([(5, 4, 3)])
    optim = build(params, Transform(counting, state={"seen": SCALAR}), param_ndim=param_ndim)
    optim.step()
    assert tuple(optim.state[params[0]]["counting"]["seen"].shape) == kept


def test_they_are_loaded():
    params, others = parameters(), parameters()
    optim, other = (build(ps, T.row_rms, param_ndim=None) for ps in (params, others))
    optim.step()
    other.load_state_dict(copy.deepcopy(optim.state_dict()))
    for p, q in zip(params, others, strict=True):
        ours, theirs = optim.state[p]["row_rms"], other.state[q]["row_rms"]
        assert torch.equal(ours["second"], theirs["second"])


def test_other_items_meanwhile_are_refused():
    params = parameters([(4, 3)])
    optim = build(params, T.row_rms, param_ndim=None)
    optim.step()
    optim.param_groups[0]["param_ndim"] = 1
    with pytest.raises(ValueError, match=r"`row_rms.second` was made for other items: its shape i"):
        optim.step()


def test_a_buffer_is_of_the_parameter_or_of_an_item():
    own = Transform(counting, state={"seen": lambda p: p.new_zeros(3, 3)})
    optim = build(parameters([(4, 3)]), own)
    with pytest.raises(ValueError, match=r"`seen` of transform `counting` must have the shape \(4"):
        optim.step()


def test_what_takes_entries_has_none_of_items():
    with pytest.raises(ValueError, match="`counting` is elementwise, and sees no items, for which"):
        Transform(counting, state={"seen": SCALAR}, elementwise=True)


def test_counters_on_the_host_stay_there():
    params = [p.to("meta") for p in parameters([(4, 3)])]
    for p in params:
        p.grad = torch.empty_like(p)
    optim = build(params, T.soap, param_ndim=None)
    for _ in range(3):
        optim.step()
    step = optim.state[params[0]]["soap"]["step"]
    assert (step.device.type, float(step)) == ("cpu", 3.0)
    optim.load_state_dict(optim.state_dict())
    assert optim.state[params[0]]["soap"]["step"].device.type == "cpu"


class TestDeclared:
    @pytest.mark.parametrize(
        ("declared", "said"),
        [
            (
                (1,),
                r"the buffer `seen` of `counting` must be a function of the parameter, `PerItem",
            ),
            (None, r"must be a function .* got None"),
            ("Counter", r"must be a function .* got 'Counter'"),
            (PerItem((1,)), r"`PerItem` of the buffer `seen` .* 'tuple' object is not callable"),  # type: ignore[arg-type]
            (PerItem(lambda d: 1), r"to a tuple of ints, got 1 for it"),  # type: ignore[arg-type,return-value]
            (PerItem(lambda d: (1.5,)), r"got \(1.5,\) for it"),  # type: ignore[arg-type,return-value]
            (PerItem(lambda d: (-1,)), r"got \(-1,\) for it"),
            (PerItem(lambda d: (d[1],)), r"such as \(3,\), .* vectors are items too"),
        ],
    )
    def test_what_a_buffer_may_be(self, declared: Any, said: str):
        with pytest.raises(TypeError, match=said):
            Transform(counting, state={"seen": declared})

    def test_names_are_a_tuple(self):
        with pytest.raises(TypeError, match=r"`state` of `counting` must be a tuple of names"):
            Transform(counting, state="seen")  # type: ignore[arg-type]

    def test_a_function_gives_a_tensor(self):
        own = Transform(counting, state={"seen": lambda p: (1,)})  # type: ignore[arg-type,return-value]
        with pytest.raises(
            ValueError, match=r"`seen` of transform `counting` must have .* got \(1,\)"
        ):
            build(parameters([(4, 3)]), own).step()
