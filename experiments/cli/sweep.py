"""A sweep from its start to its leaderboard: what is to run, what is done, what came of it."""

from collections.abc import Iterable, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import DictConfig

from experiments.cli.identity import identity_of, values_of
from experiments.cli.searching import space_of
from experiments.cli.session import Session
from experiments.cli.table import shown
from experiments.results.folder import read_config, replace
from experiments.results.identity import APART
from experiments.results.leaderboard import as_csv, as_markdown, leaderboard, remarks
from experiments.results.summary import Summary
from experiments.results.swept import flattened, sets_any, settings, without_seed
from experiments.sweeps.jobs import Job, Runs, failures, progress
from experiments.sweeps.points import points
from xformopt.recipes import Space
from xformopt.refused import Refused
from xformopt.text import first


class Sweep:
    """The jobs that Hydra's sweeper asks for, beside the runs that stand in the folder.

    `jobs` says where each has run, as soon as that is known, and `runs` so at the end, where None
    is of one that has not begun.
    """

    def __init__(self, session: Session, folder: Path, compose: Any) -> None:
        """Take a folder, which may hold runs where `sweep.resume=true`.

        `compose` gives the config of a job.
        """
        self.session, self.folder, self.compose = session, folder, compose
        self.jobs, self.before = dict[Job, Path | None](), Runs(folder)
        self.spaces: dict[Job, Space] = {}
        self.alike: dict[frozenset[str], Job] = {}
        self.runs: dict[Job, Path | None] = {}
        self.was_stopped = False
        self.session.stopped = folder / f".stopped.{uuid4().hex}"
        if self.before.found and not session.sweep.resume:
            raise Refused(
                f"`{shown(folder)}` holds runs already: `sweep.resume=true` goes on with what is "
                "not finished; or another folder: `hydra.sweep.dir=…`"
            )

    def is_stopped(self) -> bool:
        """Return whether a job failed after which no other begins."""
        return self.session.stopped is not None and self.session.stopped.exists()

    def jobs_of(self, batch: Iterable[Sequence[str]]) -> list[Job]:
        """Return each job of a batch with what is listed, and with its trials."""
        return [job for given in batch for base in self._listed(given) for job in self._tried(base)]

    def left(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that are not done, each once."""
        jobs = [*dict.fromkeys(jobs)]
        self._check(jobs)
        return [job for job in jobs if self.done(job) is None]

    def done(self, job: Job) -> Summary | None:
        """Return what a job has reached that was finished before this sweep began."""
        path = self._finished(job)
        return self.before.found[path] if path else None

    def end(self) -> None:
        """Print and save the table of what was reached."""
        self.was_stopped = self.is_stopped()
        if self.session.stopped:
            self.session.stopped.unlink(missing_ok=True)
        after = Runs(self.folder)
        summaries = [*after.found.values()]
        self.runs = {job: path or after.of(self._named(job)) for job, path in self.jobs.items()}
        began = dict.fromkeys(path for path in self.runs.values() if path in after.found)
        reached = [after.found[path] for path in began]
        reached += [None for path in self.runs.values() if path not in after.found]
        left = progress(reached)
        said = [f"{left}; the same command with `sweep.resume=true` goes on" if left else ""]
        if summaries:
            rows = leaderboard(summaries, map(self._named, self.jobs))
            table, failed = as_markdown(rows), failures(after, began)
            replace(self.folder / "leaderboard.md", table + "\n")
            replace(self.folder / "leaderboard.csv", as_csv(rows))
            notes = [f"note: {line}" for line in remarks(summaries)]
            print("\n".join(["", table, "", *([failed, ""] if failed else []), *notes]))
            said.append(f"saved as leaderboard.md and leaderboard.csv in {shown(self.folder)}")
        print("\n".join(filter(None, said)), flush=True)
        if not reached or any(one is None or one.status != "finished" for one in reached):
            self.session.status = 1

    def _listed(self, given: Sequence[str]) -> list[Job]:
        listed = self.session.sweep.list
        twice = {*settings(given)} & {key for one in listed for key in settings(one)}
        for key in sorted(twice):
            raise Refused(f"`{key}`: the command sets it, and so does `sweep.list`")
        return [(*given, *one) for one in listed or ((),)]

    def _tried(self, base: Job) -> list[Job]:
        """Return a job with each of its trials, which lie at the same places for all seeds."""
        how = self.session.sweep
        if how.trials is None:
            return [base]
        named = without_seed(base)
        if named not in self.spaces:
            own = self.session.ranges or space_of(self.compose(base), settings(base))
            self.spaces[named] = own
        found = points(self.spaces[named], how.trials, how.sampler)
        return [(*base, *(f"{k}={x}" for k, x in one.items())) for one in found]

    def _finished(self, job: Job) -> Path | None:
        """Return where a job stands that was finished before."""
        path = self.before.of(self._named(job))
        return path if path and self.before.found[path].status == "finished" else None

    def _named(self, job: Job) -> Job:
        return (*self.session.rerun, *job)

    def _check(self, jobs: list[Job]) -> None:
        """Refuse to sweep over what tells no jobs apart, and results of other configs."""
        for job in jobs:
            alike = self.alike.setdefault(frozenset(filterfalse(_is_apart, job)), job)
            for one in sorted({*job} ^ {*alike}):
                rule = "a sweep over it makes the same job again, which it does not change"
                raise Refused(f"`{one.partition('=')[0]}`: {rule}")
            path = self._finished(job)
            if path and self.before.found[path].schema != self.session.schema:
                self._check_is_same(self.compose(job), path)

    def _check_is_same(self, cfg: DictConfig, path: Path) -> None:
        if identity_of(cfg) == self.before.found[path].identity:
            return
        was, now = flattened(read_config(path)), flattened(values_of(cfg))
        keys = [key for key in was if key in now and was[key] != now[key]]
        differ = [f"`{key}` was {_text(was[key])} and is {_text(now[key])}" for key in keys]
        others = [f"`{key}` is not in both" for key in was.keys() ^ now.keys()]
        raise Refused(
            f"`{shown(path)}` was made by another version of the configs: "
            f"{first([*differ, *others], 3)}; another folder: `hydra.sweep.dir=…`"
        )


def _is_apart(override: str) -> bool:
    """Return whether what is set tells no jobs apart."""
    return sets_any(override, {*APART} - {"seed"})


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
