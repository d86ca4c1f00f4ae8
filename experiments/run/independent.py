"""Points as independent problems, whatever the optimizer takes for one item."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from xformopt.optim import RoutedOptimizer, acts_by_row
from xformopt.refused import Refused


@runtime_checkable
class Apart(Protocol):
    """Points of shape `(N, d)` that can be a parameter each, as `experiments.models.points` are."""

    def __call__(self) -> Tensor:
        """Return where they are."""
        ...

    def apart(self) -> nn.Module:
        """Return the same points, a parameter each."""
        ...


def independent(make: Callable[[Any], Optimizer], model: nn.Module) -> tuple[nn.Module, Optimizer]:
    """Return model and optimizer; where the model is points, each moves as if it stood alone.

    They are one parameter where all parts of the optimizer act row by row, else a parameter each.
    """
    optimizer = make(model)
    if not isinstance(model, Apart) or len(model()) == 1 or acts_by_row(optimizer):
        return model, optimizer
    coupling = next(_coupling(optimizer), None)
    if coupling:
        raise Refused(
            "task.starts",
            f"1 under {coupling}, which takes all starts as one problem",
            len(model()),
            f"leave {coupling} out, or try one start with several seeds",
        )
    apart = model.apart()
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
