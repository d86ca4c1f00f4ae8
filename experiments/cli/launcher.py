"""Hydra's sweepers and launchers, so that each job is done once, whoever works on a sweep."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from experiments.cli.errors import REFUSALS, one_line
from experiments.cli.optuna import optunas, prepare
from experiments.cli.patience import patience
from experiments.cli.session import Session
from experiments.cli.sweep import Sweep
from experiments.results.claim import holder
from experiments.results.summary import Summary
from experiments.sweeps.jobs import Elsewhere, Job, unlike
from xformopt.refused import Refused

PAUSE = 1.0
"""Seconds between two looks at the jobs of another process."""


class Stopped(Exception):
    """A job failed, and the sweep ends with it."""


@contextmanager
def sharing(session: Session, sweeps: list[Sweep]) -> Iterator[None]:
    """Have Hydra's sweepers launch what is not done, and end each with its leaderboard.

    One that is cut off says what it has reached. Sweeps that begin are appended to `sweeps`.
    """
    make = Plugins.instantiate_sweeper

    def made(plugins: Plugins, **given: Any) -> Sweeper:
        sweeper, config = make(plugins, **given), given["config"]
        loader = given["hydra_context"].config_loader
        folder = Path(os.path.abspath(config.hydra.sweep.dir))  # without `..`, as Hydra says it
        sweep = Sweep(session, folder, lambda job: loader.load_sweep_config(config, [*job]))
        if own := optunas(sweeper):
            prepare(own, sweep, config)
        _put_between(own or sweeper, sweep)
        sweeps.append(sweep)
        return sweeper

    setattr(Plugins, make.__name__, made)
    try:
        with suppress(Stopped):
            yield
    finally:
        setattr(Plugins, make.__name__, make)
        for sweep in sweeps:
            if sweep.jobs:
                sweep.end()


class Shared(Launcher):
    """Has another launcher run what is not done; what someone else runs is waited for.

    If that one is killed, its jobs are free, and run here.
    """

    def __init__(self, inner: Launcher, sweep: Sweep) -> None:
        """Stand before a launcher that is set up."""
        self.inner, self.sweep = inner, sweep

    def setup(self, **_: Any) -> None:
        """Do nothing: the launcher behind is set up."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Return what each job reached, now or before."""
        jobs = self.sweep.jobs_of(job_overrides)
        left = self.sweep.left(jobs)
        done = {*jobs} - {*left}
        if done:
            print(f"{len(done)} of {len({*jobs})} jobs are finished already", flush=True)
        self.sweep.jobs |= dict.fromkeys(jobs)
        returned = {job: _returned(job, self.sweep.done(job)) for job in done}
        while left:
            found = self._launched(left, initial_job_idx)
            if self.sweep.is_stopped():
                raise Stopped
            returned |= dict(zip(left, found, strict=True))
            self.sweep.jobs |= {job: _folder(returned[job]) for job in left}
            left = [job for job in left if _is_elsewhere(returned[job])]
            _wait([returned[job]._return_value for job in left])
        return [returned[job] for job in jobs]

    def _launched(self, jobs: Sequence[Job], index: int) -> Sequence[JobReturn]:
        """Have jobs run; a launcher that fails, as with a job that was killed, is asked again."""
        for tries in reversed(range(1 + self.sweep.session.sweep.retries)):
            try:
                with patience(self.inner, self.sweep.session.stopped):
                    return self.inner.launch([[*job] for job in jobs], index)
            except Exception as error:
                if isinstance(error, REFUSALS) or not tries:
                    raise
                print(f"note: the launcher is asked again, after {one_line(error)}", flush=True)
        raise AssertionError("the last try returns or raises")


def _put_between(sweeper: Sweeper, sweep: Sweep) -> None:
    """Let a sweeper check and launch what is not done alone; what composes alike, once."""
    assert sweeper.launcher is not None
    for word in ("list", "trials"):
        if getattr(sweep.session.sweep, word) and type(sweeper).__name__ != "BasicSweeper":
            raise Refused(f"`sweep.{word}`: `hydra/sweeper=basic` alone reads it")
    params = getattr(sweeper.launcher, "params", {})
    asked = params.get("tasks_per_node", 1) * params.get("nodes", 1)
    if asked > 1 and sweep.session.sweep.retries:
        rule = "jobs of one process; `sweep.resume=true` tries others again"
        raise Refused("sweep.retries", rule, f"{asked} tasks")
    sweeper.launcher = Shared(sweeper.launcher, sweep)
    validate = sweeper.validate_batch_is_legal
    sweeper.validate_batch_is_legal = lambda batch: validate(
        unlike(sweep.left(sweep.jobs_of(batch)))
    )


def _returned(job: Job, summary: Summary | None) -> JobReturn:
    reached = summary.reached() if summary else None
    return JobReturn(overrides=[*job], status=JobStatus.COMPLETED, _return_value=reached)


def _folder(returned: JobReturn) -> Path | None:
    cfg = returned.hydra_cfg
    return Path(cfg.hydra.runtime.output_dir) if cfg else None


def _is_elsewhere(returned: JobReturn) -> bool:
    return isinstance(returned._return_value, Elsewhere)


def _wait(jobs: Sequence[Elsewhere]) -> None:
    """Wait until one of some jobs has ended elsewhere, if there are any."""
    if jobs:
        print(f"waiting for {len(jobs)} jobs at work elsewhere: {jobs[0].who}", flush=True)
    while jobs and all(holder(Path(job.folder)) for job in jobs):
        time.sleep(PAUSE)
