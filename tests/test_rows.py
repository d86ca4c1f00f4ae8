"""Where `acts_by_row` says so, a row moves among others as alone; elsewhere it does not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from tests.test_names import NAMES
from tests.test_names import build as build_named
from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T
from xformopt.optim import (
    ChainedParamTransformingOptimizer,
    FrankWolfe,
    Route,
    RoutedOptimizer,
    SignedGradientOptim,
    acts_by_row,
    inner_optimizers,
)
from xformopt.testing.calls import link_for

Build = Callable[[Tensor], Optimizer]
INNERS = {**inner_optimizers(), "frank_wolfe": FrankWolfe}
NDIMS = (0, 1, -1, 2, -2, None)


def start() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 3, generator=generator, dtype=torch.float64)


def path(build: Build, rows: Tensor) -> Tensor:
    """Return where row 0 is after each of 20 steps on a convex function of each row."""
    x = rows.clone().requires_grad_()
    optimizer, seen = build(x), []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = x[:, 1:].add(x[:, :-1], alpha=0.5).square().sum() / 4 + x.cosh().log().sum() / 4
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)  # type: ignore[arg-type]
        seen.append(x.detach()[0].clone())
    return torch.stack(seen)


def check(build: Build, *, happens: bool = False) -> None:
    """Hold `acts_by_row` to its word; where it `happens`, a row moves as alone though not said."""
    said = acts_by_row(build(start().requires_grad_()))
    close = torch.allclose(path(build, start()), path(build, start()[:1]), rtol=1e-6, atol=1e-8)
    assert close == (said or happens)


ENTRIES = {"adam", "grokfast", "lookahead", "param_ema", "rms"}
"""Links that treat each entry on its own, but do not say so: taken for acting on whole items."""
HAPPENS = {
    "clip_quantile": "no norm of ours is outside of its range",
    "max_norm": "no row of ours is longer than that",
    "row_norm": "it takes the rows of a matrix, whose item is the whole of it",
    "trust_region": "no update of ours is that long",
    "trust_region_adamw": "no update of ours is that long",
}
"""Links that act on whole matrices, but move each row as alone, on these numbers at least."""
RECIPES = {"adam_parts", "adamw_parts", "grokfast_adamw", "lookahead_adam", "rmsprop_parts"}
"""Recipes of `ENTRIES` alone."""

LAYERS = [torch.nn.Linear(3, 3) for _ in range(3)]


@pytest.mark.parametrize("name", recipes.names())
def test_recipes(name: str):
    def build(x: Tensor, **settings: Any) -> Optimizer:
        return recipes.build(name, [("weight", x)], **settings)

    check(build, happens=name in HAPPENS)
    for ndim in () if recipes.get(name).routes else NDIMS:
        check(partial(build, param_ndim=ndim), happens=name in RECIPES | HAPPENS.keys())


def test_recipes_of_both_kinds():
    said = {n for n in recipes.names() if acts_by_row(recipes.build(n, [("weight", start())]))}
    assert {"lion", "adam_parts", "clipped_adam", "centralized_sgd", "pgd_l2", "fw_l1"} <= said
    assert not said & {"lamb", "lars", "normalized_sgd", "cautious_adamw", "pgd_spectral"}
    assert "muon" in said, "to whom a matrix alone is the output layer"
    assert not acts_by_row(recipes.build("muon", torch.nn.Sequential(*LAYERS)))


@pytest.mark.parametrize("name", [name for name in INNERS if name != "sparseadam"])
def test_inner_optimizers(name: str):
    cls: Any = INNERS[name]
    check(lambda x: cls([x], lr=1e-2))
    around = partial(ParamTransformingOptimizer, InnerOpt=cls, lr=1e-2, transforms=[T.centralize()])
    check(lambda x: around([x], param_ndim=1))
    check(lambda x: around([x], param_ndim=2))


def test_inner_optimizers_of_both_kinds():
    said = {name for name, cls in INNERS.items() if acts_by_row(cls([start()]))}
    assert len(said) == 12
    assert {"lbfgs", "sparseadam"} <= INNERS.keys() - said
    assert not acts_by_row(type("Other", (SGD,), {})([start()], lr=1.0))


LINKS = [name for name in T.names() if name != "soap"]
"""All but one whose bases are any where moments have eigenvalues of 0, as those of a row have."""


@pytest.mark.parametrize("name", LINKS)
def test_links(name: str):
    transform = T.get(name)
    link = link_for(transform)
    for ndim in NDIMS:
        build = partial(ParamTransformingOptimizer, lr=1e-2, transforms=[link], param_ndim=ndim)
        if transform.draws(link.settings):  # other numbers for other rows
            whole = ndim in (2, None) and transform.items != "entry"
            assert acts_by_row(build([start()])) != whole
        else:
            check(lambda x, b=build: b([x]), happens=name in ENTRIES | HAPPENS.keys())


@pytest.mark.parametrize("name", NAMES)
def test_names_of_rai_toolbox(name: str):
    for ndim in NDIMS:
        check(lambda x, n=ndim: build_named(name, [x], param_ndim=n))


def test_a_link_may_have_items_of_its_own():
    for own, of_group, said in ((1, 2, True), (2, 1, False), (None, 0, False)):
        links = [T.sign(), T.l2_norm(param_ndim=own)]
        optim = ParamTransformingOptimizer([start()], transforms=links, param_ndim=of_group, lr=1.0)
        assert acts_by_row(optim) == said


def test_one_group_of_another_kind_is_enough():
    groups = [{"params": [start()]}, {"params": [start()], "param_ndim": 2}]
    build = partial(ParamTransformingOptimizer, transforms=[T.l2_norm()], lr=1.0)
    assert acts_by_row(build(groups[:1]))
    assert not acts_by_row(build([{**groups[0]}, groups[1]]))


def test_a_hook_of_a_subclass_may_do_anything():
    class Mine(ParamTransformingOptimizer):
        def _pre_step_transform_(self, param: Tensor, optim_group: dict[str, Any]) -> None:
            """Do nothing."""

    class Ours(SignedGradientOptim):
        def _post_step_transform_(self, param: Tensor, optim_group: dict[str, Any]) -> None:
            """Do nothing."""

    assert acts_by_row(SignedGradientOptim([start()], lr=1.0))
    for cls in (Mine, Ours):
        assert not acts_by_row(cls([start()], lr=1.0))
        assert not acts_by_row(ChainedParamTransformingOptimizer(cls, params=[start()], lr=1.0))


def test_routes():
    def said(transforms: Any = None, **rest: Any) -> bool:
        layer = torch.nn.Linear(3, 4)
        routes = {"matrices": Route(ndim=2, inner=Adam), "rest": Route(inner=SGD, **rest)}
        return acts_by_row(RoutedOptimizer(layer, routes, transforms=transforms, lr=1.0))

    assert said()
    assert said([T.l2_norm()], param_ndim=1)
    assert not said(param_ndim=None, transforms=[T.l2_norm()])
    assert not said([T.clip_total_norm()])
