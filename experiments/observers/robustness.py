"""What a trained network reaches under attacks, and on corrupted images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import figure, palette, wrapped
from experiments.results import evaluations
from experiments.results.evaluations import Evaluation, called
from experiments.results.metric import Metric
from experiments.results.summary import Summary


class RobustnessCurves(Observer):
    """Draws the goal over epsilon, `robustness.png`, and for each corruption, `corruptions.png`."""

    draws = False

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run = run

    def end(self, summary: Summary) -> None:
        """Draw what the last weights of a finished run reach, and averages of them beside."""
        if summary.status == "finished":
            draw(self.run.folder, self.run.title, self.run.goal)


def draw(folder: Path, title: str, goal: Metric) -> None:
    """Draw what is on record of the last weights of a run, and of averages of them."""
    held = [one for one in evaluations.read(folder) if one.weights == "last"]
    held = [replace(one, name=name) for one, name in zip(held, called(held), strict=True)]
    kinds = {kind: [one for one in held if one.kind == kind] for kind in evaluations.KINDS}
    pictures = Pictures(folder, f"{title}, last weights", goal, kinds["clean"])
    if kinds["attack"]:
        pictures.attacks(kinds["attack"])
    if kinds["corruption"]:
        pictures.corruptions([one for one in kinds["corruption"] if not one.average])


class Pictures(NamedTuple):
    """Draws a goal, beside what is reached on clean images."""

    folder: Path
    title: str
    goal: Metric
    clean: Sequence[Evaluation]

    @property
    def metric(self) -> str:
        """Return the goal on any part."""
        return self.goal.name.removeprefix("valid_")

    def attacks(self, found: Sequence[Evaluation]) -> None:
        """Draw a panel a norm, in it a line an attack over its radii, from clean images on."""
        norms = list(dict.fromkeys(one.norm for one in found))
        names = list(dict.fromkeys(one.name for one in found))
        colors = dict(zip(names, palette(len(names)), strict=True))
        size = (1.6 + 4.4 * len(norms), 3.8)
        with figure(self.folder / "robustness.png", size, len(norms)) as (drawn, axes):
            for axis, norm in zip(axes, norms, strict=True):
                own = [one for one in found if one.norm == norm]
                for name, points in self._lines(own).items():
                    style = {"linestyle": "--" if points[0].average else "-", "label": name}
                    color = colors[points[-1].name]
                    levels = [one.level for one in points]
                    reached = [one.metrics[self.metric] for one in points]
                    axis.plot(levels, reached, color=color, marker="o", markersize=3, **style)
                self._finish(drawn, axis, own)
                axis.set_xlabel(f"epsilon, {norm}".rstrip(", "))

    def _lines(self, found: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
        """Return the points of each attack, the smallest radius first; clean images have none."""
        lines: dict[str, list[Evaluation]] = {}
        for one in sorted(found, key=lambda one: one.level):
            clean = [c for c in self.clean if (c.average, c.count) == (one.average, one.count)]
            lines.setdefault(_of(one), clean if one.level else []).append(one)
        return lines

    def corruptions(self, found: Sequence[Evaluation]) -> None:
        """Draw a bar a corruption, and a point a severity."""
        names = list(dict.fromkeys(one.name for one in found))
        size = (max(5.0, 0.4 * len(names) + 2), 4.2)
        with figure(self.folder / "corruptions.png", size) as (drawn, (axis,)):
            for place, name in enumerate(names):
                reached = [one.metrics[self.metric] for one in found if one.name == name]
                axis.bar(place, mean(reached), color="C0", alpha=0.5)
                axis.scatter([place] * len(reached), reached, color="C0", s=12, zorder=3)
            self._finish(drawn, axis, found)
            shown = [name.replace("_", " ") for name in names]
            axis.set_xticks(range(len(names)), shown, rotation=90)
            axis.set_xlabel("C-like corruption: the mean, and each severity")

    def _finish(self, drawn: Any, axis: Any, found: Sequence[Evaluation]) -> None:
        counts = {one.count for one in found}
        shades = dict(zip(sorted(counts, reverse=True), ("gray", "silver", "black"), strict=False))
        for one in (one for one in self.clean if one.count in counts):
            reached, style = one.metrics[self.metric], ":" if one.average else "--"
            axis.axhline(reached, color=shades.get(one.count), linestyle=style, label=_of(one))
        images = f"{max(counts)} images of test" if len(counts) == 1 else "test"
        axis.set_ylabel(f"{self.metric} on {images}")
        axis.grid(alpha=0.3, axis="y")
        if self.goal.limit == 1:
            axis.set_ylim(0, 1.03)
        if axis.get_legend_handles_labels()[1]:
            axis.legend()
        drawn.suptitle(wrapped(self.title, drawn))


def _of(one: Evaluation) -> str:
    return " ".join(filter(None, (one.average, one.name)))
