"""A fair comparison: whose run is whose, which trial is chosen, and when a target was reached."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.results.folder import status_in
from experiments.results.metric import Metric
from experiments.results.summary import Summary
from experiments.results.swept import Case, case_of, settings
from experiments.sweeps.jobs import Job

Runs = dict[Job, Path | None]
"""The folders of some jobs; None of one that has not begun."""


def cases(runs: Runs, swept: Sequence[str]) -> dict[Case, Runs]:
    """Return the runs of each case, by the keys that are swept.

    >>> [*cases({("task=digits", "optim=lion", "seed=1"): None}, ["task", "optim"])]
    [Case(problem='task=digits', contender='lion')]
    """
    found: dict[Case, Runs] = {}
    for job, folder in runs.items():
        found.setdefault(case_of(job, swept), {})[job] = folder
    return found


def best_of(runs: Runs) -> Job | None:
    """Return the job whose goal is best after the last step, of those that are finished."""
    best: tuple[Job, float] | None = None
    for job, goal, value in _reached(runs):
        if best is None or goal.better(value, best[1]):
            best = job, value
    return best and best[0]


def summaries(runs: Runs) -> list[Summary | None]:
    """Return what each job has reached."""
    return [folder and status_in(folder) for folder in runs.values()]


def _reached(runs: Runs) -> Iterator[tuple[Job, Metric, float]]:
    for job, summary in zip(runs, summaries(runs), strict=True):
        if summary and summary.status == "finished" and summary.goal:
            value = summary.reached()
            if value is not None:
                yield job, summary.goal, value


def chosen(job: Job, apart: Sequence[str]) -> list[str]:
    """Return what a trial sets, beside some keys and the seed, as a command line does.

    >>> chosen(("task=digits", "+optim/transforms=sign", "optim.lr_scale=3", "seed=0"), ["task"])
    ['+optim/transforms=sign', 'optim.lr_scale=3']
    """
    return [one for one in job if not settings([one]).keys() & {"seed", *apart}]
