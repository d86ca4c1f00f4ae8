"""Points as independent problems, whatever the optimizer takes for one item."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.optim import LBFGS, Optimizer

from experiments.models.points import Points
from xformopt.optim import RoutedOptimizer, acts_by_row
from xformopt.refused import Refused


def independent(make: Callable[[Any], Optimizer], points: Points) -> tuple[Points, Optimizer]:
    """Return points and optimizer, under which each point moves as if it stood alone.

    They are one parameter where all parts of the optimizer act row by row, else a parameter each.
    """
    optimizer = make(points)
    count = len(points())
    if count == 1 or acts_by_row(optimizer):
        return points, optimizer
    coupling = next(_coupling(optimizer), None)
    if coupling:
        raise Refused(
            "task.starts",
            f"1 under {coupling}, which takes all starts as one problem",
            count,
            "leave it out, or try one start with several seeds",
        )
    apart = points.apart()
    return apart, make(apart)


def _coupling(optimizer: Optimizer) -> Iterator[str]:
    """Give what looks at several parameters at once."""
    routed = isinstance(optimizer, RoutedOptimizer)
    for part in [optimizer, *(optimizer.optimizers.values() if routed else ())]:
        links = getattr(part, "common" if isinstance(part, RoutedOptimizer) else "transforms", {})
        for name, link in links.items():
            if link.transform.scope == "optimizer":
                yield f"the link `{name}`"
        if isinstance(getattr(part, "inner_opt", part), LBFGS):
            yield "LBFGS"
