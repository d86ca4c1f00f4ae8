"""One command, run: its job, or its jobs one after the other."""

import sys
import traceback
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments.cli.command import check_appended
from experiments.cli.errors import WRONG_COMMAND, Failure, failure
from experiments.cli.identity import identity_of
from experiments.cli.leftovers import drop_leftovers, of_empty_routes
from experiments.cli.schema import check_keys, check_parts
from experiments.cli.table import show, shown
from experiments.results.folder import Busy, RunFolder
from experiments.results.summary import Summary
from experiments.run.build import build
from experiments.run.checkpoint import found
from experiments.run.job import run
from experiments.run.parts import Parts
from experiments.run.ranks import rank
from experiments.sweeps.jobs import Elsewhere
from experiments.sweeps.settings import Settings
from xformopt.optim import RoutedOptimizer
from xformopt.refused import Refused


class Session:
    """Runs jobs; what it said once, it does not say again."""

    def __init__(self, *, wants_traceback: bool) -> None:
        """Begin, with nothing said and nothing failed.

        `rerun` says which run is repeated, and `resumes` is the folder of one that goes on; `sweep`
        is how a sweep does, of which no job begins where the file `stopped` is there.
        """
        self.wants_traceback = wants_traceback
        self.sweep = Settings()
        self.stopped: Path | None = None
        self.schema = ""
        self.rerun: list[str] = []
        self.resumes: Path | None = None
        self.said: set[str] = set()
        self.has_begun = False
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
            outcome = self.run(cfg, folder, overrides, optim)
            if isinstance(outcome, Failure):
                self.report(outcome)
                return None
            show(outcome, folder)
            return outcome.reached()
        if self.stopped and self.stopped.exists():
            return None
        outcome = self._tried(cfg, folder, overrides, optim)
        if isinstance(outcome, Failure):
            self.report(outcome, f"job {hydra_cfg.job.num} ({' '.join(overrides)}): ")
            if self.stopped and self.sweep.on_error == "stop":
                self.stopped.touch()
            return None
        return outcome.reached() if isinstance(outcome, Summary) else outcome

    def _tried(
        self, cfg: DictConfig, folder: Path, overrides: tuple[str, ...], optim: str | None
    ) -> Summary | Failure | Elsewhere:
        """Run a job of a sweep as often as it may fail; what it left goes on."""
        outcome = None
        for _ in range(1 + self.sweep.retries):
            try:
                outcome = self.run(cfg.copy(), folder, overrides, optim, again=True)
            except Busy as error:
                return Elsewhere(str(folder), str(error))
            if not isinstance(outcome, Failure) or outcome.status == WRONG_COMMAND:
                break
        assert outcome is not None
        return outcome

    def report(self, failed: Failure, job: str = "") -> int:
        """Print what failed, in one line; return the exit status, which the worst decides."""
        if self.wants_traceback:
            traceback.print_exception(failed.error)
        who = f"rank {rank()}: " if rank() else ""
        if not who or self.has_begun or failed.status != WRONG_COMMAND:  # or all ranks say the same
            print(f"error: {who}{job}{failed.line}", file=sys.stderr)
        self.status = 1 if job else failed.status
        return self.status

    def run(
        self,
        cfg: DictConfig,
        path: Path,
        overrides: tuple[str, ...],
        optim: str | None = None,
        *,
        again: bool = False,
    ) -> Summary | Failure:
        """Build and run; return the summary, or what went wrong, as its summary says.

        Args:
            cfg: the config.
            path: the run's folder.
            overrides: the words of the command line that made it.
            optim: the option that was chosen of the group `optim`.
            again: whether a run that stands in the folder is this very one, and goes on.

        Raises:
            Busy: where another process is at work on it, which `again` allows.
        """
        try:
            folder = RunFolder(path)
            of = RunFolder(self.resumes) if self.resumes else folder if again else None
            if of is None:
                folder.check_is_free()  # and again once it is held
            elif done := self._done(of):
                return done
            with folder.held():
                if of is None or (again and not found(path)):
                    return self._begun(cfg, folder, overrides, optim, again=again)
                return self._done(of) or self._resumed(cfg, folder, of)
        except Refused as error:
            if again and isinstance(error, Busy):
                raise
            return failure(error)

    def _done(self, folder: RunFolder) -> Summary | None:
        """Return the summary of a run that is finished, of which nothing is left to do."""
        before = folder.summary()
        if before.status != "finished":
            return None
        if self.resumes:
            self._say(("the run is finished: nothing is left to do",))
        return before

    def _begun(
        self,
        cfg: DictConfig,
        folder: RunFolder,
        overrides: tuple[str, ...],
        optim: str | None,
        *,
        again: bool,
    ) -> Summary | Failure:
        """Run what begins."""
        if done := again and self._done(folder):
            return done
        if not again:
            folder.check_is_free()
        summary = Summary("running", cfg.get("seed"), overrides, schema=self.schema)
        try:
            summary = replace(summary, identity=identity_of(cfg))
            if optim:
                check_appended(optim, overrides)
            parts = self._build(cfg, overrides)
            folder.write_summary(summary)
            folder.write_config(OmegaConf.to_yaml(cfg, resolve=True))
        except Exception as error:
            failed = failure(error, cfg, folder.path)
            folder.write_summary(replace(summary, status="failed", error=failed.reason))
            return failed
        return self._run(cfg, parts, folder, summary)

    def _resumed(self, cfg: DictConfig, folder: RunFolder, of: RunFolder) -> Summary | Failure:
        """Run what is left of a run, from its last checkpoint on; `of` is its folder."""
        before, checkpoint = of.summary(), found(of.path)
        said = f"the run goes on from {checkpoint.name if checkpoint else 'its beginning'}"
        summary = replace(
            Summary("running", cfg.seed, before.overrides),
            identity=before.identity,
            schema=before.schema,
        )
        try:
            parts = self._build(cfg, before.overrides)
            if not parts.trainer.is_resumable:
                rule = "a run that saves checkpoints: not a toy, not under fsdp, not with "
                rule += "`trainer.checkpoint_every=null`"
                raise Refused("resume", rule, str(of.path), "`rerun=FOLDER` begins it anew")
            self._say((said,))
            parts = replace(parts, notes=(*parts.notes, said))
        except Exception as error:
            return failure(error, cfg, folder.path)
        return self._run(cfg, parts, folder, summary, checkpoint)

    def _run(
        self,
        cfg: DictConfig,
        parts: Parts,
        folder: RunFolder,
        summary: Summary,
        checkpoint: Path | None = None,
    ) -> Summary | Failure:
        kept = None if rank() else folder.path  # that of another rank is thrown away
        self.has_begun = True
        explained = cache(lambda error: failure(error, cfg, kept))
        try:
            summary = run(parts, folder, summary, lambda error: explained(error).reason, checkpoint)
        except KeyboardInterrupt:
            if found(folder.path):
                self._say((f"`resume={shown(folder.path)}` goes on from the last checkpoint",))
            raise
        except Exception as error:
            return explained(error)
        self._say(summary.notes)
        return summary

    def _build(self, cfg: DictConfig, overrides: tuple[str, ...]) -> Parts:
        check_parts(cfg)
        drop_leftovers(cfg, overrides)
        check_keys(cfg)
        parts = build(cfg)
        optimizer = parts.state.optimizer
        parts = replace(parts, notes=(*parts.notes, *of_empty_routes(optimizer, overrides)))
        if isinstance(optimizer, RoutedOptimizer):
            print(optimizer.describe())
        self._say(parts.notes)
        return parts

    def _say(self, notes: tuple[str, ...]) -> None:
        for line in notes:
            if line not in self.said:
                self.said.add(line)
                print(f"note: {line}", flush=True)
