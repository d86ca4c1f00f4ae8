"""The learning curves of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import grid, wrapped
from experiments.results.evaluations import CORRUPTED
from experiments.results.folder import read_metrics
from experiments.results.metric import Metric
from experiments.results.summary import Summary

MARKED = 30
"""Up to so many points are marked one by one."""

ACROSS = 4
"""So many panels stand side by side."""

DECADE = 10
"""Values within so much of each other are drawn on a linear scale, whose marks are plainer."""

TRAIN = "train"
"""What a line is called that is of no other part, where there are several."""

NO_METRIC = ("step", "seconds")
"""What stands beside the metrics; seconds of several kinds."""

WHOLE = (TRAIN, "valid")
"""The lines that are drawn whole; those of averages are dashed."""


class Curves(Observer):
    """Draws `curves.png`: a panel a metric, on train, on valid, and of averages of the weights."""

    draws = False

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run = run

    def end(self, summary: Summary) -> None:
        """Draw what was measured, if there is a line to draw."""
        history = read_metrics(self.run.folder)
        if len(history) < 2:
            return
        names = [name for name in history[-1] if not name.endswith(NO_METRIC)]
        panels = by_metric(names, self.run.metrics, self.run.conditions)
        parts = [*dict.fromkeys(part for lines in panels.values() for part in lines.values())]
        path = self.run.folder / "curves.png"
        columns = min(len(panels), ACROSS)
        rows = -(-len(panels) // columns)
        with grid(path, rows, columns, (4.4 * columns, 3.4 * rows)) as (drawn, axes):
            for axis in axes[len(panels) :]:
                axis.remove()
            for axis in axes[1 : len(panels)]:
                axis.sharex(axes[0])
            for axis, (title, lines) in zip(axes, panels.items(), strict=False):
                for name, part in lines.items():
                    style = {"linestyle": "-" if part in WHOLE else "--"}
                    named = {"label": part} if len(parts) > 1 else {}
                    _draw(axis, history, name, color=f"C{parts.index(part)}", **style, **named)
                self._finish(axis, title)
            drawn.suptitle(wrapped(self.run.title, drawn))

    def _finish(self, axis: Any, title: str) -> None:
        from matplotlib.ticker import MaxNLocator

        logs = [metric.name for metric in self.run.metrics if metric.scale == "log"]
        values = [value for line in axis.lines for value in line.get_ydata()]
        if title in logs and 0 <= DECADE * min(values) < max(values):
            axis.set_yscale("symlog" if min(values) == 0 else "log", **_threshold(values))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.set(xlabel="step", title=title)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[1]:
            axis.legend()


def by_metric(
    names: Iterable[str], metrics: Iterable[Metric], conditions: Iterable[str] = ()
) -> Mapping[str, dict[str, str]]:
    """Return the figures of each metric, with the part of the data that they are on.

    Those under conditions have a panel of their own for each attack; of corruptions, the mean.

    >>> by_metric(["loss", "valid_loss", "ema_valid_loss"], [Metric("loss")])
    {'loss': {'loss': 'train', 'valid_loss': 'valid', 'ema_valid_loss': 'ema valid'}}
    >>> by_metric(["valid_fgsm_0.1_hit"], [Metric("hit")], ["fgsm_0.1"])
    {'hit, fgsm': {'valid_fgsm_0.1_hit': 'valid 0.1'}}
    """
    known = sorted((metric.name for metric in metrics), key=len, reverse=True)
    found: dict[str, dict[str, str]] = {}
    conditions = list(conditions)
    for name in names:
        of = next((k for k in known if name == k or name.endswith(f"_{k}")), name)
        part = name.removesuffix(of).strip("_")
        condition = max((c for c in conditions if part.endswith(f"_{c}")), key=len, default="")
        if condition.startswith(f"{CORRUPTED}_"):
            continue
        if condition:
            attack, _, level = condition.rpartition("_")
            of = f"{of}, {attack or level}"
            part = f"{part.removesuffix(condition)}{level if attack else ''}"
        found.setdefault(of, {})[name] = part.strip("_").replace("_", " ") or TRAIN
    return found


def _draw(axis: Any, history: Sequence[Mapping[str, float]], name: str, **style: str) -> None:
    points = [(line["step"], line[name]) for line in history if name in line]
    steps, values = zip(*points, strict=True)
    marker = "o" if len(values) < MARKED else None
    axis.plot(steps, values, marker=marker, markersize=3, **style)


def _threshold(values: Sequence[float]) -> dict[str, float]:
    """Return where a scale that shows zeros turns linear: at the least value above them."""
    return {"linthresh": min(value for value in values if value > 0)} if min(values) == 0 else {}
