"""Parameters of all shapes in one optimizer, in any order: each steps as it would alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xformopt import ParamTransformingOptimizer, recipes, testing, transforms
from xformopt.optim import RoutedOptimizer

SHAPES = [(), (1,), (0,), (5,), (0, 3), (3, 4), (1, 1), (4, 3), (2, 3, 2, 2), (3, 1, 1)]
BY_ITEM = [
    name
    for name in transforms.names()
    if transforms.get(name).scope == "item" and not testing.is_random(transforms.get(name))
]
lists = st.lists(st.sampled_from(SHAPES), min_size=2, max_size=8)


def parameters(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def step(optimizers: list[Any], params: list[Tensor]) -> None:
    for count in range(2):
        generator = torch.Generator().manual_seed(count)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()


def close(a: list[Tensor], b: list[Tensor]) -> None:
    for ours, theirs in zip(a, b, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BY_ITEM)
@settings(max_examples=8)
@given(shapes=lists, param_ndim=st.sampled_from([None, 0, 1, -1, 2]))
def test_transforms(name: str, shapes: list[tuple[int, ...]], param_ndim: int | None):
    link = transforms.get(name)()
    together, alone = parameters(shapes), parameters(shapes)
    shared: dict[str, Any] = {"transforms": [link], "param_ndim": param_ndim, "lr": 0.1}
    step([ParamTransformingOptimizer(together, strict_ndim=False, **shared)], together)
    step([ParamTransformingOptimizer([p], strict_ndim=False, **shared) for p in alone], alone)
    close(together, alone)


@pytest.mark.parametrize("name", recipes.names())
@settings(max_examples=8)
@given(shapes=lists)
def test_recipes(name: str, shapes: list[tuple[int, ...]]):
    together, alone = parameters(shapes), parameters(shapes)
    named = [(f"layer{i}.weight", p) for i, p in enumerate(together)]
    optimizer = recipes.build(name, named)
    step([optimizer], together)
    if isinstance(optimizer, RoutedOptimizer):  # an optimizer of one parameter has other routes
        assert all(p.isfinite().all() for p in together)
        return
    step([recipes.build(name, [pair]) for pair in zip("abcdefgh", alone, strict=False)], alone)
    close(together, alone)
