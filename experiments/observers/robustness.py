"""What a trained network reaches under attacks, and on corrupted images."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import figure, wrapped
from experiments.results import evaluations
from experiments.results.evaluations import Evaluation
from experiments.results.summary import Summary


class RobustnessCurves(Observer):
    """Draws the goal over epsilon, `robustness.png`, and for each corruption, `corruptions.png`."""

    draws = False

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run, self.metric = run, run.goal.name.removeprefix("valid_")

    def end(self, summary: Summary) -> None:
        """Draw what the last weights of a finished run reach, and averages of them beside."""
        if summary.status != "finished":
            return
        found = [one for one in evaluations.read(self.run.folder) if one.weights == "last"]
        of_kind = {kind: [one for one in found if one.kind == kind] for kind in evaluations.KINDS}
        if of_kind["attack"]:
            self._draw_attacks(of_kind["attack"], of_kind["clean"])
        if of_kind["corruption"]:
            self._draw_corruptions(of_kind["corruption"], of_kind["clean"])

    def _draw_attacks(self, attacks: Sequence[Evaluation], clean: Sequence[Evaluation]) -> None:
        names = list(dict.fromkeys(one.name for one in attacks))
        lines: dict[str, list[Evaluation]] = {}
        for one in sorted(attacks, key=lambda one: one.level):
            lines.setdefault(_of(one), []).append(one)
        with figure(self.run.folder / "robustness.png", (5.4, 3.8)) as (drawn, (axis,)):
            for name, points in lines.items():
                levels = [one.level for one in points]
                reached = [one.metrics[self.metric] for one in points]
                style = {"linestyle": "--" if points[0].average else "-", "label": name}
                color = f"C{names.index(points[0].name)}"
                axis.plot(levels, reached, color=color, marker="o", markersize=3, **style)
            self._draw_clean(axis, clean)
            self._finish(drawn, axis, attacks[0].count)
            axis.set_xlabel("epsilon")
            axis.legend()

    def _draw_corruptions(self, found: Sequence[Evaluation], clean: Sequence[Evaluation]) -> None:
        own = [one for one in found if not one.average]
        names = list(dict.fromkeys(one.name for one in own))
        with figure(self.run.folder / "corruptions.png", (0.4 * len(names) + 2, 4.2)) as (
            drawn,
            (axis,),
        ):
            for place, name in enumerate(names):
                reached = [one.metrics[self.metric] for one in own if one.name == name]
                axis.bar(place, mean(reached), color="C0", alpha=0.5)
                axis.scatter([place] * len(reached), reached, color="C0", s=12, zorder=3)
            self._draw_clean(axis, [one for one in clean if not one.average])
            self._finish(drawn, axis, own[0].count)
            shown = [name.replace("_", " ") for name in names]
            axis.set_xticks(range(len(names)), shown, rotation=90)
            axis.set_xlabel("C-like corruption: the mean, and each severity")

    def _draw_clean(self, axis: Any, clean: Sequence[Evaluation]) -> None:
        for i, one in enumerate(clean):
            reached = one.metrics[self.metric]
            axis.axhline(reached, color="gray", linestyle=("--", ":")[i > 0], label=_of(one))

    def _finish(self, drawn: Any, axis: Any, count: int) -> None:
        axis.set_ylabel(f"{self.metric} on {count} images of test")
        axis.grid(alpha=0.3, axis="y")
        if self.run.goal.limit == 1:
            axis.set_ylim(0, 1.03)
        drawn.suptitle(wrapped(f"{self.run.title}, last weights", drawn))


def _of(one: Evaluation) -> str:
    return " ".join(filter(None, (one.average, one.name)))
