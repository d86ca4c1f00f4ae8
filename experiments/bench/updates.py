"""Links on the update, over the step without them."""

from collections.abc import Iterator
from functools import partial

from experiments.bench.case import Case, extra_copies
from experiments.bench.links import INNERS, entry_of
from experiments.bench.sets import SETS
from experiments.bench.steps import Variant, step_case
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T

GOAL = 2.0
MORE = "copies more than without links"


def cases() -> Iterator[Case]:
    """Give a case for each parameter set and inner optimizer."""
    for set_name in ("resnet18", "vit_tiny"):
        for inner in INNERS:
            yield step_case(
                ("updates", set_name, inner, ""),
                SETS[set_name](),
                _variants(inner),
                [
                    extra_copies("without", 0.3, words="copies more than the bare step"),
                    extra_copies("clip", GOAL, "without", MORE),
                    extra_copies("decay", GOAL, "without", MORE),
                    extra_copies("decay, one program", GOAL, "one program", MORE),
                ],
                memory=True,
            )


def _variants(inner: str) -> dict[str, Variant]:
    """Return steps without links, with a link on the update, and those that are one program."""
    ours = partial(ParamTransformingOptimizer, InnerOpt=INNERS[inner], strict_ndim=False)
    clip, decay = T.trust_region(param_ndim=None), T.cautious_weight_decay()
    compiled = partial(ours, compile=True)
    return {
        "bare": Variant(f"torch.optim.{inner}", INNERS[inner]),
        "without": Variant("ParamTransformingOptimizer()", ours),
        "clip": Variant(entry_of("trust_region"), partial(ours, transforms=[clip])),
        "decay": Variant(entry_of("cautious_weight_decay"), partial(ours, transforms=[decay])),
        "one program": Variant("ParamTransformingOptimizer(compile=True)", compiled),
        "decay, one program": Variant(
            entry_of("cautious_weight_decay", "compile=True"), partial(compiled, transforms=[decay])
        ),
    }
