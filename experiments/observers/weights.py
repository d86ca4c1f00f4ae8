"""The weights that a run keeps: the last, and those by which its goal was best."""

from typing import Literal, get_args

from experiments.observers.contract import Evaluated, Event, Observer, Run
from experiments.results.folder import aside
from experiments.results.summary import Summary

Kept = Literal["none", "last", "best", "both"]
KEPT = get_args(Kept)


class Weights(Observer):
    """Saves `last.safetensors` and `best.safetensors`, each replaced in one move.

    Averages of the weights stand beside them: `last_ema.safetensors`.
    """

    draws = False

    def __init__(self, kept: Kept) -> None:
        """Choose which are kept."""
        self.kept = kept

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run, self.step = run, run.begin

    def on(self, event: Event) -> None:
        """Save the best as they come."""
        self.step = event.step
        if isinstance(event, Evaluated) and event.best and self.kept in ("best", "both"):
            self._save("best")

    def end(self, summary: Summary) -> None:
        """Save the last, of a run that failed too."""
        if self.kept in ("last", "both"):
            self._save("last")

    def _save(self, name: str) -> None:
        from safetensors.torch import save_model

        for average, model in self.run.models():
            file = "_".join(filter(None, (name, average)))
            with aside(self.run.folder / f"{file}.safetensors") as unfinished:
                save_model(model, str(unfinished), {"step": str(self.step)})
