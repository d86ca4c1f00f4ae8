"""The jobs of a command, beside the runs that stand in its folder."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from experiments.results.folder import status_in
from experiments.results.summary import NAME, Summary
from experiments.results.swept import varied
from xformopt.text import as_markdown

Job = tuple[str, ...]
"""What a command line sets in a job."""


class Elsewhere(NamedTuple):
    """What a job returns that another process is at work on."""

    folder: str
    who: str


class Runs:
    """The runs of a folder, found by what was set in them."""

    def __init__(self, folder: Path) -> None:
        """Read all that began."""
        self.folder = folder
        paths = sorted(path.parent for path in folder.rglob(NAME))
        self.found = {path: status_in(path) for path in paths}
        ranked = sorted(self.found, key=lambda path: self.found[path].status == "finished")
        self.by_job = {frozenset(self.found[path].overrides): path for path in ranked}

    def of(self, job: Iterable[str]) -> Path | None:
        """Return the folder of a job, in whichever order its settings were given."""
        return self.by_job.get(frozenset(job))


def progress(reached: Sequence[Summary | None]) -> str:
    """Say how many jobs are finished and what became of the others, "" where all are.

    >>> progress([Summary("finished"), Summary("killed"), None])
    '1 of 3 jobs is finished; 1 killed, 1 not begun'
    """
    states = [summary.status if summary else "not begun" for summary in reached]
    done = states.count("finished")
    others = [f"{states.count(s)} {s}" for s in dict.fromkeys(states) if s != "finished"]
    is_are = "is" if done == 1 else "are"
    return f"{done} of {len(states)} jobs {is_are} finished; {', '.join(others)}" if others else ""


def failures(runs: Runs, paths: Iterable[Path]) -> str:
    """Return a table of those runs that failed or were killed, with the reason; "" without any.

    Folders are those below that of the sweep.
    """
    failed = {path: runs.found[path] for path in paths if _has_failed(runs.found[path])}
    if not failed:
        return ""
    words = dict(
        zip(runs.found, varied([one.overrides for one in runs.found.values()]), strict=True)
    )
    rows = [
        [
            words[path] or " ".join(one.overrides),
            one.status,
            one.error or "it ended without a word",
            str(path.relative_to(runs.folder)),
        ]
        for path, one in failed.items()
    ]
    return as_markdown(["job", "status", "reason", "folder"], rows, aligned=True)


def _has_failed(summary: Summary) -> bool:
    return summary.status in ("failed", "killed")


def unlike(jobs: Iterable[Job]) -> list[Job]:
    """Return one of all jobs whose settings differ in numbers alone.

    Example:
        >>> unlike([("seed=0", "optim=lion"), ("seed=1", "optim=lion"), ("seed=0", "optim=muon")])
        [('seed=0', 'optim=lion'), ('seed=0', 'optim=muon')]
    """
    found: dict[Job, Job] = {}
    for job in jobs:
        found.setdefault(tuple(map(_kind, job)), job)
    return [*found.values()]


def _kind(setting: str) -> str:
    """Return a setting, with `int` or `float` for a number that is no choice of a group."""
    key, _, value = setting.partition("=")
    for kind in (int, float) if "." in key or key == "seed" else ():
        with suppress(ValueError):
            kind(value)
            return f"{key}={kind.__name__}"
    return setting
