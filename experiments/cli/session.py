"""One command, run: its job, or its jobs one after the other."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments.cli.errors import WRONG_COMMAND, Failure
from experiments.cli.ranked import shared_out
from experiments.cli.runner import Runner
from experiments.cli.table import show, shown
from experiments.results.claim import holder
from experiments.results.folder import Busy
from experiments.results.summary import Summary
from experiments.run.checkpoint import found
from experiments.run.judging import Diverged
from experiments.run.ranks import SUBMITTED, of_first, rank, ranks
from experiments.sweeps.gpus import keep_to_one
from experiments.sweeps.jobs import Elsewhere
from experiments.sweeps.settings import Settings
from xformopt.recipes import Space

Attempt = Callable[[], Summary | Failure]
"""Runs a job, from where it stands."""


class Session(Runner):
    """Runs the jobs of a command, and keeps its exit status."""

    def __init__(self, *, wants_traceback: bool) -> None:
        """Begin, with nothing failed.

        `rerun` says which run is repeated; `sweep` is how a sweep does, of which no job begins
        where the file `stopped` is there, and `ranges` what it searches.
        """
        super().__init__()
        self.wants_traceback = wants_traceback
        self.rerun: list[str] = []
        self.sweep = Settings()
        self.stopped: Path | None = None
        self.process = os.getpid()
        self.ranges: Space = {}
        self.status = 0

    def job(self, cfg: DictConfig) -> float | Elsewhere | None:
        """Run one job; return its goal, or None where it failed, or who works on it.

        In a sweep, a failure is its row in the leaderboard, not the end of all.
        """
        hydra_cfg = HydraConfig.get()
        folder = Path(hydra_cfg.runtime.output_dir)
        typed: Any = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
        overrides, optim = (*self.rerun, *map(str, typed)), hydra_cfg.runtime.choices.get("optim")
        if hydra_cfg.mode != RunMode.MULTIRUN:
            try:
                outcome = self.run(cfg, folder, overrides, optim)
            except KeyboardInterrupt:
                if found(folder):
                    self._say((f"`resume={shown(folder)}` goes on from the last checkpoint",))
                raise
            if isinstance(outcome, Failure):
                self.report(outcome)
                return None
            show(outcome, folder)
            return outcome.reached()
        try:
            with shared_out(folder) as own:
                return self._of_sweep(
                    folder,
                    overrides,
                    lambda: self.run(cfg.copy(), own, overrides, optim, again=folder),
                )
        except KeyboardInterrupt:
            if os.getpid() == self.process:
                raise
            if self.stopped and SUBMITTED not in os.environ:
                self.stopped.touch()  # before this worker takes its next job
            return None  # or the launcher would end the other workers, which save what they have

    def _of_sweep(
        self, folder: Path, overrides: tuple[str, ...], attempt: Attempt
    ) -> float | Elsewhere | None:
        """Run a job of a sweep, unless none begins any more, or another process has it."""
        if of_first(self.stopped is not None and self.stopped.exists()):
            return None
        if ranks() > 1 and (who := of_first(holder(folder))):
            return Elsewhere(str(folder), who)
        if self.stopped and ranks() == 1:
            keep_to_one(self.stopped.parent, self.process)
        outcome = self._tried(folder, attempt)
        if isinstance(outcome, Failure):
            number = HydraConfig.get().job.num
            self.report(outcome, f"job {number} ({' '.join(overrides)}): ")
            if self.stopped and self.sweep.on_error == "stop" and rank() == 0:
                self.stopped.touch()
            return None
        return outcome.reached() if isinstance(outcome, Summary) else outcome

    def _tried(self, folder: Path, attempt: Attempt) -> Summary | Failure | Elsewhere:
        """Run a job of a sweep as often as it may fail; what it left goes on."""
        for left in reversed(range(1 + self.sweep.retries)):
            try:
                outcome = attempt()
            except Busy as error:
                return Elsewhere(str(folder), holder(folder) or str(error))
            if not (left and isinstance(outcome, Failure)) or _is_hopeless(outcome):
                return outcome
            print(f"note: it is tried again, after {outcome.line}", flush=True)
        raise AssertionError("the last try returns")

    def report(self, failed: Failure, job: str = "") -> int:
        """Print what failed, in one line; return the exit status, which the worst decides."""
        if self.wants_traceback:
            traceback.print_exception(failed.error)
        who = f"rank {rank()}: " if rank() else ""
        if not who or self.has_begun or failed.status != WRONG_COMMAND:  # or all ranks say the same
            print(f"error: {who}{job}{failed.line}", file=sys.stderr)
        self.status = 1 if job else failed.status
        return self.status


def _is_hopeless(failed: Failure) -> bool:
    """Return whether the same job fails alike: by what it sets, or what it computes."""
    return failed.status == WRONG_COMMAND or isinstance(failed.error, Diverged)
