"""TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import register
from experiments.observers.contract import Run
from experiments.observers.trackers import Tracker, check_installed, label, package
from experiments.results.summary import Summary


class TensorBoard(Tracker):
    """Writes files of events, which `tensorboard --logdir=outputs` shows, and hyperparameters.

    A run that is resumed goes on there; its steps after the checkpoint take the place of those
    from before.

    Args:
        folder: in which each run has a folder of its own; null: `tensorboard` in the run's.
    """

    def __init__(self, folder: str | None = None) -> None:
        """Refuse at once what cannot be kept."""
        check_installed("tensorboard")
        self.folder = folder

    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        """Begin a file of events."""
        tensorboard = package("torch.utils.tensorboard")
        folder = Path(self.folder, label(run)) if self.folder else run.folder / "tensorboard"
        self.writer = tensorboard.SummaryWriter(
            str(folder), purge_step=run.begin + 1 if run.begin else 0
        )
        shown = {key: "null" if value is None else value for key, value in config.items()}
        _, begun, self.ended = tensorboard.summary.hparams(shown, {})
        if not run.begin:
            self.writer.file_writer.add_summary(begun)
            self.writer.add_text("title", run.title)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        """Write what was reached, as scalars and text, and whether it is a success."""
        self.log(figures, step)
        self.writer.add_text("status", f"{summary.status} {summary.error}".strip(), step)
        if summary.status == "finished":
            self.writer.file_writer.add_summary(self.ended)
        self.writer.close()


register.logger(TensorBoard, name="tensorboard")
