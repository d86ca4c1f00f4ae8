"""Links around bare steps, beside rai_toolbox: what a step takes beyond the bare one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from experiments.bench.case import Case, extra_copies
from experiments.bench.peers import RAI, found
from experiments.bench.sets import SETS
from experiments.bench.steps import Variant, step_case
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.transforms.link import Link

INNERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": partial(SGD, lr=1e-3),
    "AdamW": partial(AdamW, lr=1e-3, fused=True),
}
LINKS: dict[str, tuple[list[Link], str | None, dict[str, Any]]] = {
    "sign": ([T.sign()], "SignedGradientOptim", {}),
    "l2_norm": ([T.l2_norm()], "L2NormedGradientOptim", {}),
    "l2_norm, l2_ball": ([T.l2_norm(), T.l2_ball()], "L2ProjectedOptim", {"epsilon": 1.0}),
    "top_q(q=0.9)": ([T.top_q(q=0.9)], "TopQGradientOptimizer", {"q": 0.9}),
    "momentum": ([T.momentum()], None, {}),
    "orthogonalize": ([T.orthogonalize(param_ndim=None)], None, {}),
}
"""Links, the class of rai_toolbox that does the same, and its settings."""

GOALS = {"sign": 1.0, "l2_norm": 1.3, "l2_norm, l2_ball": 2.2, "top_q(q=0.9)": 10.0}
SMALL_GOALS = {"sign": 3.0, "l2_norm": 6.0, "l2_norm, l2_ball": 8.0, "top_q(q=0.9)": 12.0}
SET_GOALS = {"1000 × (64, 64)": SMALL_GOALS, "10,000 × (8, 8)": {}}
"""Copies by link, where they are other than `GOALS`."""


def cases() -> Iterator[Case]:
    """Give a case for each parameter set, inner optimizer and chain of links."""
    for set_name, shapes in SETS.items():
        for inner in INNERS:
            for what in LINKS:
                if (what, set_name) == ("orthogonalize", "4096 × 4096"):
                    continue
                variants = _variants(inner, what)
                goal = SET_GOALS.get(set_name, GOALS).get(what)
                yield step_case(
                    ("links", set_name, inner, what),
                    shapes(),
                    variants,
                    [
                        extra_copies(who, goal if who == "xformopt" else None)
                        for who in variants
                        if who != "bare"
                    ],
                    memory=True,
                )


def _variants(inner: str, what: str) -> dict[str, Variant]:
    """Return the bare optimizer, ours with these links around it, and that of rai_toolbox."""
    links, name, settings = LINKS[what]
    ours = partial(
        ParamTransformingOptimizer,
        InnerOpt=INNERS[inner],
        transforms=links,
        strict_ndim=False,
    )
    variants = {
        "bare": Variant(f"torch.optim.{inner}", INNERS[inner]),
        "xformopt": Variant(entry_of(what), ours),
    }
    theirs = found(RAI, name)
    if theirs:
        build = partial(theirs, InnerOpt=INNERS[inner], param_ndim=-1, **settings)
        variants["rai_toolbox"] = Variant(f"{RAI}.{name}", build)
    return variants


def entry_of(links: str, *settings: str) -> str:
    """Return what is written to get these links.

    >>> entry_of("l2_norm, l2_ball", "compile=True")
    'ParamTransformingOptimizer(transforms=[l2_norm, l2_ball], compile=True)'
    """
    return f"ParamTransformingOptimizer({', '.join([f'transforms=[{links}]', *settings])})"
