"""What is measured: transformed steps around bare ones, and Muon beside its peers."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from experiments.bench.sets import SETS, Shapes, transformer_matrices
from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T
from xformopt.transforms.link import Link

Build = Callable[[list[Tensor]], Optimizer]

INNERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": partial(SGD, lr=1e-3),
    "AdamW": partial(AdamW, lr=1e-3, fused=True),
}
LINKS: dict[str, tuple[list[Link], str | None, dict[str, Any]]] = {
    "sign": ([T.sign()], "SignedGradientOptim", {}),
    "l2_norm": ([T.l2_norm()], "L2NormedGradientOptim", {}),
    "l2_norm + l2_ball": ([T.l2_norm(), T.l2_ball()], "L2ProjectedOptim", {"epsilon": 1.0}),
    "top_q(0.9)": ([T.top_q(q=0.9)], "TopQGradientOptimizer", {"q": 0.9}),
    "orthogonalize": ([T.orthogonalize(param_ndim=None)], None, {}),
}
"""Links, the class of rai_toolbox that does the same, and its settings."""

GOALS = {"sign": 1.0, "l2_norm": 1.3, "l2_norm + l2_ball": 2.2, "top_q(0.9)": 10.0}
SMALL_GOALS = {"sign": 3.0, "l2_norm": 6.0, "l2_norm + l2_ball": 8.0, "top_q(0.9)": 12.0}


class Case(NamedTuple):
    """A parameter set, what is done to it, and by whom; the first is what others are held to."""

    name: dict[str, str]
    shapes: Shapes
    variants: dict[str, Build]
    goal: float | None


def step_cases() -> Iterator[Case]:
    """Give a case for each parameter set, inner optimizer and link."""
    for set_name, shapes in SETS.items():
        for inner_name, inner in INNERS.items():
            for link_name, (links, rai, settings) in LINKS.items():
                if link_name == "orthogonalize" and set_name == "4096 × 4096":
                    continue
                variants: dict[str, Build] = {
                    "bare": inner,
                    "xformopt": partial(
                        ParamTransformingOptimizer,
                        InnerOpt=inner,
                        transforms=links,
                        strict_ndim=False,
                    ),
                }
                theirs = _found("rai_toolbox.optim", rai)
                if theirs:
                    variants["rai_toolbox"] = partial(theirs, InnerOpt=inner, **settings)
                goals = SMALL_GOALS if set_name.startswith("1000") else GOALS
                name = {"set": set_name, "inner": inner_name, "links": link_name}
                yield Case(name, shapes(), variants, goals.get(link_name))


def muon_case() -> Case:
    """Give the step of the recipe Muon beside those of its peers."""
    variants: dict[str, Build] = {"xformopt": _muon}
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01}
    peers = {
        "torch": ("torch.optim", settings),
        "pytorch_optimizer": ("pytorch_optimizer", {"lr": 0.02, "momentum": 0.95}),
        "heavyball": ("heavyball", {"lr": 0.02}),
    }
    for peer, (module, given) in peers.items():
        cls = _found(module, "Muon")
        if cls:
            variants[peer] = partial(_peer, cls, peer, given)
    name = {"set": "24 matrices of width 256", "inner": "Muon", "links": ""}
    return Case(name, transformer_matrices(), variants, 0.9)


def compiled_case() -> Case:
    """Give the step of Lion's chain as one program, beside the same step without."""
    build = partial(
        ParamTransformingOptimizer,
        lr=1e-3,
        transforms=[T.lion_mix(), T.sign(), T.weight_decay()],
        strict_ndim=False,
    )
    variants: dict[str, Build] = {"xformopt": partial(build, compile=True), "compile=False": build}
    name = {"set": "vit_tiny", "inner": "SGD", "links": "Lion's, compile=True"}
    return Case(name, SETS["vit_tiny"](), variants, None)


def _muon(params: list[Tensor]) -> Optimizer:
    return recipes.build("muon", [(f"layers.{i}.linear.weight", p) for i, p in enumerate(params)])


def _peer(cls: Any, peer: str, settings: dict[str, Any], params: list[Tensor]) -> Optimizer:
    if peer == "pytorch_optimizer":
        return cls([{"params": params, "use_muon": True, **settings}])
    return cls(params, **settings)


def _found(module: str, name: str | None) -> Any:
    try:
        return getattr(import_module(module), name) if name else None
    except (ImportError, AttributeError):
        return None
