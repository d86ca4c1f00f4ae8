"""The recipe Muon beside its peers, and a chain as one program beside the same without."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from experiments.bench.case import Case, ratio
from experiments.bench.links import entry_of
from experiments.bench.peers import found
from experiments.bench.sets import transformer_matrices, vit_tiny
from experiments.bench.steps import Variant, step_case
from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T

MUONS: dict[str, tuple[str, dict[str, Any]]] = {
    "torch": ("torch.optim", {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01}),
    "pytorch_optimizer": ("pytorch_optimizer", {"lr": 0.02, "momentum": 0.95}),
    "heavyball": ("heavyball", {"lr": 0.02}),
}
"""Modules with a Muon, and its settings."""


def cases() -> Iterator[Case]:
    """Give both cases."""
    yield _muon()
    yield _compiled()


def _muon() -> Case:
    variants = {"xformopt": Variant('recipes.build("muon")', _our_muon)}
    for peer, (module, settings) in MUONS.items():
        cls = found(module, "Muon")
        if cls:
            variants[peer] = Variant(f"{module}.Muon", partial(_their_muon, cls, peer, settings))
    return step_case(
        ("recipes", "24 matrices of width 256", "", "muon"),
        transformer_matrices(),
        variants,
        [ratio("xformopt", p, f"step over {variants[p].entry}", 0.9) for p in list(variants)[1:]],
    )


def _compiled() -> Case:
    build = partial(
        ParamTransformingOptimizer,
        lr=1e-3,
        transforms=[T.lion_mix(), T.sign(), T.weight_decay()],
        strict_ndim=False,
    )
    what = "lion_mix, sign, weight_decay"
    variants = {
        "xformopt": Variant(entry_of(what, "compile=True"), partial(build, compile=True)),
        "compile=False": Variant(entry_of(what), build),
    }
    return step_case(
        ("compiled", "vit_tiny", "SGD", what),
        vit_tiny(),
        variants,
        [ratio("xformopt", "compile=False", "step over compile=False")],
    )


def _our_muon(params: list[Tensor]) -> Optimizer:
    return recipes.build("muon", [(f"layers.{i}.linear.weight", p) for i, p in enumerate(params)])


def _their_muon(cls: Any, peer: str, settings: dict[str, Any], params: list[Tensor]) -> Optimizer:
    if peer == "pytorch_optimizer":
        return cls([{"params": params, "use_muon": True, **settings}])
    return cls(params, **settings)
