"""Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import register
from experiments.observers.contract import Run
from experiments.observers.trackers import PROJECT, Tracker, check_installed, label, package
from experiments.results.summary import Summary
from xformopt.refused import Refused

MODES = ("offline", "online")


class WandB(Tracker):
    """Keeps a run for Weights & Biases; offline, `wandb sync FOLDER/wandb/offline-run-*` sends it.

    A run that is resumed goes on under the same id; offline that is one more folder, and what was
    evaluated after the checkpoint may be in both, with the same figures. What a run that is killed
    evaluated in its last seconds is lost, and what of it stands before the checkpoint is missing.

    Args:
        project: where runs are kept together.
        mode: offline or online; online it needs `wandb login`.
        folder: in which `wandb` is made; null: the run's.
    """

    def __init__(
        self, project: str = PROJECT, mode: str = "offline", folder: str | None = None
    ) -> None:
        """Refuse at once what cannot be kept."""
        if mode not in MODES:
            raise Refused("mode", "offline or online", mode)
        check_installed("wandb")
        self.project, self.mode, self.folder = project, mode, folder

    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        """Begin, or go on with, a run; offline nothing is said or sent, no report of an error."""
        offline = self.mode == "offline"
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb = package("wandb")
        folder = Path(self.folder or run.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = wandb.init(
            project=self.project,
            name=label(run),
            notes=run.title,
            config=dict(config),
            id=self.id,
            resume="allow" if self.id and not offline else None,
            mode=self.mode,
            dir=str(folder),
            settings=wandb.Settings(silent=offline, console="off", reinit="create_new"),
        )
        self.id = self.kept.id

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log a step."""
        self.kept.log(dict(figures), step=step)

    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        """Put what was reached into the summary of the run; a failed one is marked so."""
        self.kept.summary.update({**figures, "status": summary.status, "error": summary.error})
        self.kept.finish(exit_code=0 if summary.status == "finished" else 1)


register.logger(WandB, name="wandb")
