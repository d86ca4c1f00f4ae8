"""The ways that points take over the contour of their function."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.observers.contract import Event, Observer, Run, Stepped
from experiments.observers.figures import figure
from experiments.results.folder import aside
from experiments.results.summary import Summary
from experiments.results.trajectories import NAME

SMOOTH = 100
"""Each of the first steps is shown; later ones are thinned out."""

SNAPSHOTS, DRAWN = 400, 256
"""At most so many snapshots are kept, of so many points."""


class Trajectories(Observer):
    """Draws `trajectories.png`, where the points have two coordinates; `locate` reads them.

    What it draws is kept in `trajectories.npz`, for reports.

    It keeps `SNAPSHOTS` at most: when there are more, every second of the later ones goes, and
    from then on half as many are taken.
    """

    draws = False

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        minima: Tensor,
        box: tuple[float, float],
        locate: Callable[[Any], Tensor],
    ) -> None:
        """Take what is drawn: the function with its minima within a box."""
        self.function, self.minima, self.box, self.locate = function, minima, box, locate

    def start(self, run: Run) -> None:
        """Note where the points begin."""
        self.run = run
        self.early: list[Tensor] = []
        self.late: list[Tensor] = []
        self.at: list[int] = []
        self.every = 1
        self.flat = self.minima.shape[1] == 2

    def on(self, event: Event) -> None:
        """Note where the points are after a step; at first, where they began."""
        self.step = step = event.step
        if not self.flat or not (isinstance(event, Stepped) or step == 0):
            return
        if step < SMOOTH:
            self.early.append(self._now())
        elif step % self.every == 0 and step < self.run.steps:
            self.late.append(self._now())
            self.at.append(step)
            if len(self.late) > SNAPSHOTS - SMOOTH:
                self.late, self.at, self.every = self.late[1::2], self.at[1::2], self.every * 2

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots."""
        return {"early": self.early, "late": self.late, "at": self.at, "every": self.every}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from snapshots."""
        self.early, self.late = state["early"], state["late"]
        self.at, self.every = state["at"], state["every"]

    def end(self, summary: Summary) -> None:
        """Draw the contour with the trajectories."""
        if self.flat and self.early:
            points, contour = torch.stack([*self.early, *self.late, self._now()]), self._contour()
            self._draw(points, contour)
            self._keep(points, contour[-1])

    def _now(self) -> Tensor:
        return self.locate(self.run.model)[:DRAWN].detach().cpu().clone()

    def _draw(self, points: Tensor, contour: tuple[Tensor, Tensor, Tensor]) -> None:
        path = self.run.folder / "trajectories.png"
        with figure(path, (6, 5.4)) as (drawn, (axis,)):
            shades = axis.contourf(*contour, levels=24, cmap="Blues_r", alpha=0.8)
            drawn.colorbar(shades, label="log₁₀(value - least value)")
            for start in range(points.shape[1]):
                axis.plot(*points[:, start].T, color="tab:orange", linewidth=0.8, alpha=0.7)
            minima = self.minima.cpu().T
            axis.scatter(*points[0].T, s=8, color="white", ec="gray", label="start", zorder=3)
            axis.scatter(
                *minima, marker="*", s=260, color="gold", ec="k", label="minimum", zorder=4
            )
            axis.scatter(*points[-1].T, s=12, color="tab:red", label="end", zorder=5)
            axis.set(xlim=self.box, ylim=self.box, xlabel="x₁", ylabel="x₂")
            axis.set_title(self.run.title, fontsize="medium")
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False)

    def _keep(self, points: Tensor, levels: Tensor) -> None:
        """Save the points, the steps at which they were there, and the contour."""
        held = {"points": points, "contour": levels, "minima": self.minima.cpu()}
        arrays: Any = {name: value.numpy().astype(np.float32) for name, value in held.items()}
        steps = np.array([*range(len(self.early)), *self.at, self.step])
        with aside(self.run.folder / NAME) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, steps=steps, box=np.array(self.box), **arrays)

    @torch.no_grad()
    def _contour(self) -> tuple[Tensor, Tensor, Tensor]:
        side = torch.linspace(*self.box, 200)
        x, y = torch.meshgrid(side, side, indexing="xy")
        values = self.function(torch.stack([x.flatten(), y.flatten()], 1)).view(x.shape)
        return x, y, (values - values.amin()).add(1e-3).log10()
