"""Trackio."""

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from experiments import register
from experiments.observers.contract import Run
from experiments.observers.trackers import PROJECT, Tracker, check_installed, label, package
from experiments.results.summary import Summary


class Trackio(Tracker):
    """Keeps a run in the user's own database of Trackio, which `trackio show` shows.

    It lies where TRACKIO_DIR says, which Trackio reads when it is imported. A run that is resumed
    goes on there, the latest of its name; what was evaluated after the checkpoint may stand there
    twice, with the same figures. What a run that is killed evaluated in its last second is lost.

    Args:
        project: where runs are kept together.
    """

    def __init__(self, project: str = PROJECT) -> None:
        """Refuse at once what cannot be kept."""
        check_installed("trackio")
        self.project = project

    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        """Begin, or go on with, a run."""
        self.trackio = package("trackio")
        resume, self.id = "must" if self.id else "never", self.id or label(run)
        with redirect_stdout(StringIO()):
            self.kept = self.trackio.init(
                self.project, name=self.id, config=dict(config), resume=resume, embed=False
            )

    def log(self, figures: Mapping[str, Any], step: int) -> None:
        """Log a step."""
        self.kept.log(dict(figures), step=step)

    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        """Log what was reached, and how it ended."""
        self.log({**figures, "status": summary.status, "error": summary.error}, step)
        with redirect_stdout(StringIO()):
            self.trackio.finish()


register.logger(Trackio, name="trackio")
