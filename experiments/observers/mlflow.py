"""MLflow."""

import os
from collections.abc import Mapping
from logging import WARNING, getLogger
from time import time
from typing import Any

from experiments import register
from experiments.observers.contract import Run
from experiments.observers.trackers import PROJECT, Tracker, check_installed, label, package
from experiments.results.summary import Summary

ENDS = {"finished": "FINISHED", "interrupted": "KILLED"}
"""How a run ended, in MLflow's words; in any other way, it failed."""

BATCH = 100
"""So many parameters are taken at once."""


class MLflow(Tracker):
    """Keeps a run in a database of MLflow, which `mlflow ui --backend-store-uri=URI` shows.

    A run that is resumed goes on there; what was evaluated after the checkpoint stands there twice,
    with the same figures.

    Args:
        experiment: where runs are kept together.
        uri: the database, as `sqlite:///mlflow.db`, or a server; null: `mlflow.db` in the run's
            folder, which takes some seconds to make.
    """

    def __init__(self, experiment: str = PROJECT, uri: str | None = None) -> None:
        """Refuse at once what cannot be kept."""
        check_installed("mlflow")
        self.experiment, self.uri = experiment, uri

    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        """Begin, or go on with, a run; it tells its makers nothing, unless the user lets it."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.mlflow = package("mlflow")
        getLogger("mlflow").setLevel(WARNING)
        uri = self.uri or f"sqlite:///{run.folder.resolve() / 'mlflow.db'}"
        self.client = self.mlflow.MlflowClient(uri)
        if self.id:
            self.client.update_run(self.id, "RUNNING")
        else:
            self.id = self._begun(run, config)

    def _begun(self, run: Run, config: Mapping[str, Any]) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        where = found.experiment_id if found else self.client.create_experiment(self.experiment)
        tags = {"mlflow.note.content": run.title}
        begun = self.client.create_run(where, run_name=label(run), tags=tags).info.run_id
        params = [self.mlflow.entities.Param(key, str(value)) for key, value in config.items()]
        for first in range(0, len(params), BATCH):
            self.client.log_batch(begun, params=params[first : first + BATCH])
        return begun

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log a step, in one batch."""
        now, Metric = int(1000 * time()), self.mlflow.entities.Metric
        logged = [Metric(name, value, now, step) for name, value in figures.items()]
        self.client.log_batch(self.id, metrics=logged)

    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        """Log what was reached, and how it ended."""
        self.log(figures, step)
        if summary.error:
            self.client.set_tag(self.id, "error", summary.error)
        self.client.set_terminated(self.id, ENDS.get(summary.status, "FAILED"))


register.logger(MLflow, name="mlflow")
