"""The learning curves of a run."""

from collections.abc import Sequence
from typing import Any

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import figure
from experiments.results.folder import read_metrics
from experiments.results.summary import Summary

MARKED = 30
"""Up to so many points are marked one by one."""


class Curves(Observer):
    """Draws `curves.png`: each metric over the steps, a panel each."""

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run = run

    def end(self, summary: Summary) -> None:
        """Draw what was measured, if there is a line to draw."""
        self.history = read_metrics(self.run.folder)
        if len(self.history) < 2:
            return
        names = [name for name in self.history[-1] if name not in ("step", "seconds")]
        path = self.run.folder / "curves.png"
        with figure(path, (4 * len(names), 3.2), panels=len(names)) as (drawn, axes):
            for axis, name in zip(axes, names, strict=True):
                self._draw(axis, name)
            drawn.suptitle(self.run.title)

    def _draw(self, axis: Any, name: str) -> None:
        points = [(line["step"], line[name]) for line in self.history if name in line]
        steps, values = zip(*points, strict=True)
        axis.plot(steps, values, marker="o" if len(values) < MARKED else None, markersize=3)
        positive = [value for value in values if value > 0]
        if self._is_log(name) and positive and min(values) >= 0:
            axis.set_yscale("symlog" if min(values) == 0 else "log", **_threshold(values))
        axis.set(xlabel="step", title=name)
        axis.grid(alpha=0.3)

    def _is_log(self, name: str) -> bool:
        """Return whether a metric, or the one that it is on a part of the data, is drawn so."""
        logs = [metric.name for metric in self.run.metrics if metric.scale == "log"]
        return any(name == log or name.endswith(f"_{log}") for log in logs)


def _threshold(values: Sequence[float]) -> dict[str, float]:
    """Return where a scale that shows zeros turns linear: at the least value above them."""
    return {"linthresh": min(value for value in values if value > 0)} if min(values) == 0 else {}
