"""Toy problems with known minima, optimised from many starts at once."""

from collections.abc import Callable, Iterator
from itertools import count
from math import pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.check import check_count
from experiments.tasks import Goal

Function = Callable[[Tensor], Tensor]
"""Maps points of shape `(N, d)` to values of shape `(N,)`."""

SMOOTH = 100
"""The number of first steps that a trajectory shows each of; later ones as they are evaluated."""


class Points(nn.Module):
    """N starts, held as one parameter of shape `(N, d)`, so that each is an item."""

    def __init__(self, x: Tensor) -> None:
        """Hold the starts."""
        super().__init__()
        self.x = nn.Parameter(x)


class Toy:
    """Minimises a function with known minima from N starts at once.

    Args:
        name: the problem's name.
        function: maps points of shape `(N, d)` to values of shape `(N,)`.
        minima: the global minima, shape `(M, d)`.
        low: the lower corner of the box that starts are drawn from, and pictures show.
        high: its upper corner.
        starts: the number N of starts.
    """

    goal = Goal("distance", "min")
    network = False
    tolerance = 1e-2
    """The distance to a minimum below which a start counts as solved."""

    def __init__(
        self,
        name: str,
        function: Function,
        minima: Tensor,
        low: float,
        high: float,
        starts: int,
    ) -> None:
        """Keep the problem; `prepare` draws the starts."""
        check_count("task.starts", starts)
        self.name, self.function, self.minima = name, function, minima
        self.low, self.high, self.starts = low, high, starts
        self.path: list[Tensor] = []

    def prepare(self, device: torch.device, seed: int) -> None:
        """Draw the starts uniformly from the box."""
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand(self.starts, self.minima.shape[1], generator=generator)
        self.model = Points((self.low + (self.high - self.low) * unit).to(device))
        self.minima = self.minima.to(device)

    def steps(self, trainer: Any) -> tuple[int, int]:
        """Make `steps` steps and evaluate a hundred times."""
        for key in ("epochs", "batch_size"):
            if trainer[key] is not None:
                raise ValueError(
                    f"the toy `{self.name}` has no {key}: all starts move at each step; set "
                    f"`trainer.steps` and leave `trainer.{key}=null`, got {trainer[key]!r}"
                )
        if trainer.steps is None:
            raise ValueError(f"the toy `{self.name}` needs `trainer.steps`, an int >= 1, got null")
        return trainer.steps, max(1, trainer.steps // 100)

    def batches(self) -> Iterator[None]:
        """Give nothing, without end, since a toy has no data; note where the first steps lead."""
        for step in count():
            if 0 < step < SMOOTH:
                self._note()
            yield None

    def loss(self, batch: None) -> Tensor:
        """Return the sum over the starts, so that each has its own gradient."""
        return self.function(self.model.x).sum()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the mean loss, the median distance to the nearest minimum and the share solved.

        A start counts as solved where its distance is below `tolerance`.
        """
        self._note()
        x = self.model.x.detach()
        distance = (x[:, None] - self.minima).norm(dim=2).amin(1)
        return {
            "loss": float(self.function(x).mean()),
            "distance": float(distance.median()),
            "solved": float((distance < self.tolerance).float().mean()),
        }

    def draw(self, folder: Path) -> list[Path]:
        """Draw the contour with the trajectories, where the toy has two dimensions."""
        if self.minima.shape[1] != 2:
            return []
        from experiments.plots import draw_trajectories

        path = folder / "trajectories.png"
        draw_trajectories(path, self, torch.stack(self.path))
        return [path]

    def _note(self) -> None:
        self.path.append(self.model.x.detach().cpu().clone())


def rosenbrock(dim: int, starts: int) -> Toy:
    """Return the banana valley: Σ 100 (x[i+1] - x[i]²)² + (1 - x[i])², least at ones.

    Source: Rosenbrock 1960, The Computer Journal 3(3).
    """
    _check_dim(dim, 2)

    def function(x: Tensor) -> Tensor:
        head, tail = x[:, :-1], x[:, 1:]
        return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum(1)

    return Toy("rosenbrock", function, torch.ones(1, dim), -2.0, 2.0, starts)


def himmelblau(starts: int) -> Toy:
    """Return (x² + y - 11)² + (x + y² - 7)², with four minima of value 0.

    Source: Himmelblau 1972, Applied Nonlinear Programming.
    """
    minima = [[3.0, 2.0], [-2.805118, 3.131313], [-3.779310, -3.283186], [3.584428, -1.848127]]

    def function(p: Tensor) -> Tensor:
        x, y = p.unbind(1)
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2

    return Toy("himmelblau", function, torch.tensor(minima), -5.0, 5.0, starts)


def beale(starts: int) -> Toy:
    """Return (1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)², least at (3, 0.5).

    Source: Beale 1958, On an iterative method for finding a local minimum.
    """

    def function(p: Tensor) -> Tensor:
        x, y = p.unbind(1)
        powers = zip((1.5, 2.25, 2.625), (y, y**2, y**3), strict=True)
        return torch.stack([(c - x + x * power) ** 2 for c, power in powers]).sum(0)

    return Toy("beale", function, torch.tensor([[3.0, 0.5]]), -4.5, 4.5, starts)


def rastrigin(dim: int, starts: int) -> Toy:
    """Return 10 d + Σ x² - 10 cos(2πx), with many local minima and the global one at zero.

    Source: Rastrigin 1974, Systems of Extremal Control.
    """
    _check_dim(dim, 1)

    def function(x: Tensor) -> Tensor:
        return 10 * dim + (x**2 - 10 * torch.cos(2 * pi * x)).sum(1)

    return Toy("rastrigin", function, torch.zeros(1, dim), -5.12, 5.12, starts)


def ill_conditioned(dim: int, condition: float, starts: int) -> Toy:
    """Return ½ (x - 1)ᵀ H (x - 1), H's eigenvalues spread evenly in log from 1/condition to 1.

    The eigenvectors are a fixed random rotation, so that no coordinate is an axis of the bowl.
    """
    _check_dim(dim, 2)
    if not condition >= 1:
        raise ValueError(f"`task.condition` must be a number >= 1, got {condition!r}")
    normal = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = torch.linalg.qr(normal).Q
    eigenvalues = torch.logspace(0, 1, dim, base=1 / condition, dtype=torch.float64)
    hessian = ((axes * eigenvalues) @ axes.T).float()

    def function(x: Tensor) -> Tensor:
        offset = x - 1
        return 0.5 * ((offset @ hessian.to(x.device)) * offset).sum(1)

    return Toy("ill_conditioned", function, torch.ones(1, dim), -2.0, 2.0, starts)


def simplex_least_squares(dim: int, starts: int) -> Toy:
    """Return ½ ‖A x - b‖² over the probability simplex, with a known sparse solution.

    b is chosen so that the gradient at the solution x* is constant on its support and larger off
    it, which are the optimality conditions; A has full rank, so that x* is the only solution.
    """
    _check_dim(dim, 2)
    generator = torch.Generator().manual_seed(0)
    matrix = torch.eye(dim) + 0.3 * torch.randn(dim, dim, generator=generator) / dim**0.5
    support = torch.arange(dim) < -(-dim // 2)
    solution = torch.where(support, torch.rand(dim, generator=generator) + 0.5, 0.0)
    solution /= solution.sum()
    gradient = torch.where(support, -0.5, 0.5)
    target = matrix @ solution - torch.linalg.solve(matrix.T, gradient)

    def function(x: Tensor) -> Tensor:
        return 0.5 * (x @ matrix.T.to(x.device) - target.to(x.device)).square().sum(1)

    return Toy("simplex_least_squares", function, solution[None], 0.0, 1.0, starts)


def _check_dim(dim: int, least: int) -> None:
    if not isinstance(dim, int) or dim < least:
        raise ValueError(f"`task.dim` must be an int >= {least}, got {dim!r}")
