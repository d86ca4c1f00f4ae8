"""Many parameter groups, as for a learning rate per parameter, over one group of the same."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import SGD, Optimizer

from experiments.bench.case import Case, ratio
from experiments.bench.links import entry_of
from experiments.bench.peers import RAI, found
from experiments.bench.steps import Variant, step_case
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.transforms.link import Link

GROUPS = 3000
SHAPE = (8, 8)
LINKS: dict[str, tuple[Link, str | None, dict[str, Any]]] = {
    "sign": (T.sign(), "SignedGradientOptim", {"param_ndim": -1}),
    "l2_norm": (T.l2_norm(), "L2NormedGradientOptim", {}),
    "top_q(q=0.9)": (T.top_q(q=0.9), "TopQGradientOptimizer", {"q": 0.9}),
    "adam": (T.adam(), None, {}),
}
"""A link, the class of rai_toolbox that does the same, and its settings."""

Build = Callable[..., Optimizer]


def cases() -> Iterator[Case]:
    """Give a case for each link."""
    for what in LINKS:
        variants = {
            key: variant
            for who, (entry, build) in _optimizers(what).items()
            for key, variant in _both(who, entry, build).items()
        }
        owners = [who for who in variants if not who.endswith(ONE)]
        yield step_case(
            ("groups", f"{GROUPS:,} × {SHAPE}, a group each", "SGD", what),
            [SHAPE] * GROUPS,
            variants,
            [ratio(who, who + ONE, "step over that of one group") for who in owners],
        )


ONE = ", one group"


def _optimizers(what: str) -> dict[str, tuple[str, Build]]:
    """Return by owner the entry that is timed, and what builds it: ours, bare, rai_toolbox's."""
    link, name, settings = LINKS[what]
    built: dict[str, tuple[str, Build]] = {
        "xformopt": (entry_of(what), partial(ParamTransformingOptimizer, transforms=[link])),
        "bare": ("torch.optim.SGD", SGD),
    }
    theirs = found(RAI, name)
    if theirs:
        built["rai_toolbox"] = (f"{RAI}.{name}", partial(theirs, **settings))
    return built


def _both(who: str, entry: str, build: Build) -> dict[str, Variant]:
    """Return the optimizer with a group for each parameter, and with one for all."""
    return {
        who: Variant(entry, lambda params: build(_own_groups(params), lr=1e-3)),
        who + ONE: Variant(entry, lambda params: build(params, lr=1e-3)),
    }


def _own_groups(params: list[Tensor]) -> list[dict[str, Any]]:
    """Return a group for each parameter, with a learning rate of its own."""
    return [{"params": [p], "lr": 1e-3 * (1 + i / len(params))} for i, p in enumerate(params)]
