"""Sets of gradients that change with each step, as in a mixture of experts, over one that stays."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from experiments.bench.case import Case, ratio
from experiments.bench.links import entry_of
from experiments.bench.peers import RAI, found
from experiments.bench.sets import small
from experiments.bench.steps import Variant, step_case
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T

LINKS = {"l2_norm": (T.l2_norm(), "L2NormedGradientOptim"), "adam": (T.adam(), None)}
"""A link, and the class of rai_toolbox that does the same."""

FIXED = ", a fixed half"


class Half:
    """Gives half of the parameters gradients: at each call another random half, or the same."""

    def __init__(self, *, another: bool) -> None:
        """Start from a seed."""
        self.another, self.seed = another, 0

    @torch.no_grad()
    def __call__(self, params: list[Tensor], grads: list[Tensor]) -> None:
        """Put the parameters where they were; give some of them a gradient, and others none."""
        torch.ops.aten._foreach_copy_(params, grads)
        self.seed += self.another
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(params), generator=generator).tolist()
        chosen = set(order[: len(params) // 2])
        for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
            param.grad = grad.clone() if i in chosen else None


def cases() -> Iterator[Case]:
    """Give a case for each link."""
    for what, (link, name) in LINKS.items():
        ours = partial(ParamTransformingOptimizer, transforms=[link])
        variants = {
            **_both("xformopt", entry_of(what), ours),
            **_both("bare", "torch.optim.SGD", SGD),
        }
        theirs = found(RAI, name)
        if theirs:
            variants |= _both("rai_toolbox", f"{RAI}.{name}", theirs)
        owners = [who for who in variants if not who.endswith(FIXED)]
        yield step_case(
            ("changing", "another 500 of 1000 × (64, 64)", "SGD", what),
            small(),
            variants,
            [ratio(who, who + FIXED, "step over that of a fixed half") for who in owners],
        )


def _both(who: str, entry: str, build: Callable[..., Optimizer]) -> dict[str, Variant]:
    """Return the optimizer with another half of the gradients in each step, and with the same."""
    made: Any = partial(build, lr=1e-3)
    return {
        who: Variant(entry, made, Half(another=True)),
        who + FIXED: Variant(entry, made, Half(another=False)),
    }
