"""The names that users of rai_toolbox import, ours beside theirs, as they come."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from experiments.bench.case import Case, ratio
from experiments.bench.peers import RAI, found
from experiments.bench.sets import SETS
from experiments.bench.steps import Variant, step_case
from xformopt import optim

NAMES: dict[str, dict[str, Any]] = {
    "SignedGradientOptim": {"lr": 1e-3},
    "L2NormedGradientOptim": {"lr": 1e-3},
    "L2ProjectedOptim": {"lr": 1e-3, "epsilon": 1.0},
    "TopQGradientOptimizer": {"lr": 1e-3, "q": 0.9},
    "LinfProjectedOptim": {"lr": 1e-3, "epsilon": 1.0},
    "L1FrankWolfe": {"epsilon": 1.0, "param_ndim": 1},
    "L2FrankWolfe": {"epsilon": 1.0},
}
"""Names, and the settings that both are given; their L1FrankWolfe takes no items but vectors."""

GOALS = {
    "1000 × (64, 64)": 0.5,
    "10,000 × (8, 8)": 0.5,
    "vit_tiny": 0.7,
    "resnet18": 0.95,
    "4096 × 4096": 1.0,
}
"""By parameter set, the most that our step is to take of theirs."""

OVER_RAI = "step over rai_toolbox"


def cases() -> Iterator[Case]:
    """Give a case for each parameter set and name; none where rai_toolbox is not installed."""
    for set_name, shapes in SETS.items():
        for name, settings in NAMES.items():
            theirs = found(RAI, name)
            if theirs is None:
                continue
            ours = getattr(optim, name)
            entry = f"{name}(param_ndim=1)" if "param_ndim" in settings else name
            variants = {
                "xformopt": Variant(f"xformopt.optim.{entry}", partial(ours, **settings)),
                "rai_toolbox": Variant(f"{RAI}.{entry}", partial(theirs, **settings)),
            }
            yield step_case(
                ("names", set_name, "FrankWolfe" if "FrankWolfe" in name else "SGD", name),
                shapes(),
                variants,
                [ratio("xformopt", "rai_toolbox", OVER_RAI, GOALS[set_name])],
            )
