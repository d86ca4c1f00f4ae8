"""Functions with known minima, minimised from many starts at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.observers.contract import Observer
from experiments.observers.trajectories import Trajectories
from experiments.results.metric import Metric
from experiments.tasks.contract import WithoutData
from xformopt.refused import Refused, check_count

Function = Callable[[Tensor], Tensor]
"""Maps points of shape `(N, d)` to values of shape `(N,)`."""

TOLERANCE = 1e-2
"""The distance to a minimum below which a start counts as solved."""

LOSS, DISTANCE = Metric("loss", "min", "log"), Metric("distance", "min", "log", limit=0)
SOLVED = Metric("solved", "max", limit=1)


class Toy(WithoutData):
    """Minimises a function with known minima from N starts at once.

    Args:
        name: the problem's name.
        function: maps points of shape `(N, d)` to values of shape `(N,)`.
        minima: the global minima, shape `(M, d)`.
        box: the lower and the upper corner of the box that starts are drawn from.
        starts: the number N of starts.
    """

    metrics = (LOSS, DISTANCE, SOLVED)
    goal = DISTANCE

    def __init__(
        self, name: str, function: Function, minima: Tensor, box: tuple[float, float], starts: int
    ) -> None:
        """Keep the problem."""
        check_count("starts", starts)
        values = function(minima)
        if not isinstance(values, Tensor) or values.shape != minima.shape[:1]:
            rule = "a function of points, shape (N, d), that returns their values, shape (N,)"
            raise Refused("function", rule, getattr(values, "shape", values), of=f"the toy {name}")
        self.name, self.function, self.minima = name, function, minima
        self.box, self.starts = box, starts

    def offers(self) -> Mapping[str, Any]:
        """Return the shape of the starts, and the corners of their box."""
        low, high = self.box
        return {"shape": torch.Size((self.starts, self.minima.shape[1])), "low": low, "high": high}

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        """Return the sum over the starts, so that each has its own gradient."""
        return self.function(model()).sum()

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the mean loss, the median distance to the nearest minimum and the share solved."""
        x = model()
        distance = (x[:, None] - self.minima.to(x.device)).norm(dim=2).amin(1)
        return {
            "loss": float(self.function(x).mean()),
            "distance": float(distance.median()),
            "solved": float((distance < TOLERANCE).float().mean()),
        }

    def observers(self, data: None = None) -> Mapping[str, Observer]:
        """Return who draws the trajectories."""
        drawn = Trajectories(self.function, self.minima, self.box, lambda model: model())
        return {"trajectories": drawn}
