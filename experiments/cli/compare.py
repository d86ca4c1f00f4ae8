"""`python -m experiments.compare`: contenders that are tuned alike, then judged by fresh seeds."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed

from experiments.cli.errors import reported
from experiments.cli.launch import launched
from experiments.cli.report import report_of
from experiments.cli.study import Command, command_of
from experiments.cli.table import shown
from experiments.results import study as kept
from experiments.results.across import as_text_across
from experiments.results.comparison import Comparison, Entry, as_text
from experiments.results.folder import read_metrics, replace, status_in
from experiments.results.profiles import until
from experiments.results.summary import NAME
from experiments.sweeps.jobs import Job
from experiments.sweeps.listed import quoted
from experiments.sweeps.protocol import (
    Case,
    Runs,
    best_of,
    cases,
    chosen,
    summaries,
)
from xformopt.refused import Refused

USAGE = """\
python -m experiments.compare optim=A,B,… folder=DIR [trials=16 seeds=5 target=0.9 task=… …]

What is swept are contenders; what is swept of `task`, `data` and `model` problems. Each contender
is run `trials` times on each problem, at points of its own search space, which `python -m xformopt
NAME` shows. What is best on `valid` after the last step is run with `seeds` fresh seeds, and judged
on `test`; `target` is one of the goal on `valid`, or a list, one for each problem. The same command
goes on with what is not finished, and may ask for more contenders, trials or seeds. All else is as
for `python -m experiments -m`."""

Targets = dict[str, float | None]
"""That of each problem."""
TUNING_SEED = 0
"""That of all trials; those of the final runs are above it."""


def compare(arguments: Sequence[str]) -> int:
    """Run a comparison; return the exit status, 1 where a run failed."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    try:
        asked = command_of(arguments)
        own, begins = _take(asked)
    except Exception as error:
        return reported(error)
    space = (f"sweep.trials={asked.trials}", f"seed={TUNING_SEED}", *asked.searched)
    status, sweep = launched(_part(asked, "trials", *asked.swept, *space))
    if sweep is None and begins:
        (asked.folder / kept.NAME).unlink()  # the command is wrong, and the next may be another
    if sweep is None or sweep.was_stopped:
        return status
    tuned = cases(sweep.runs, asked.keys)
    best = {case: job for case, runs in tuned.items() if (job := best_of(runs))}
    if not best:
        print("error: no trial of any contender was finished", file=sys.stderr)
        return 1
    try:
        targets = _targets(asked, tuned, best)
    except Refused as error:
        return reported(error)
    words = [chosen(job, asked.set_for_all) for job in best.values()]
    changed(own, chosen=words, targets=targets).keep(asked.folder)
    seeds = ",".join(str(TUNING_SEED + 1 + i) for i in range(asked.seeds))
    final_status, final = launched(
        _part(
            asked, "final", f"sweep.list={quoted(str(asked.folder / kept.CHOSEN))}", f"seed={seeds}"
        )
    )
    if final is None:
        return final_status
    _report(asked, targets, tuned, best, cases(final.runs, asked.keys))
    return max(status, final_status)


def _take(asked: Command) -> tuple[kept.Study, bool]:
    """Keep what a comparison sets for all its jobs; return that, and whether it begins.

    Raises:
        Refused: where the folder holds something else.
    """
    before, where = kept.study_in(asked.folder), f"`{shown(asked.folder)}` holds"
    own = kept.Study(asked.same, asked.keys, asked.line)
    if before:
        for one in sorted({*before.same} ^ {*asked.same}):
            with_out = "with" if one in before.same else "without"
            raise Refused(f"{where} a comparison {with_out} `{one}`; another folder: `folder=DIR`")
        return own, False
    if any(asked.folder.glob(f"*/*/{NAME}")):
        raise Refused(f"{where} other runs; another folder: `folder=DIR`")
    asked.folder.mkdir(parents=True, exist_ok=True)
    own.keep(asked.folder)
    return own, True


def _targets(asked: Command, tuned: Mapping[Case, Runs], best: Mapping[Case, Job]) -> Targets:
    """Return the target of each problem; refuse one that the goal cannot come up to."""
    problems = dict.fromkeys(case.problem for case in tuned)
    targets: Targets = dict(zip(problems, asked.targets or [None] * len(problems), strict=False))
    for case, job in best.items():
        folder = tuned[case][job]
        if folder and (goal := status_in(folder).goal):
            goal.check_target("target", targets[case.problem])
    return targets


def _part(asked: Command, name: str, *more: str) -> list[str]:
    """Return the command line of a sweep that is a part of the comparison, and goes on."""
    where = f"hydra.sweep.dir={quoted(str(asked.folder / name))}"
    return ["-m", *asked.given, *more, where, "sweep.resume=true", "report=false"]


def _report(
    asked: Command,
    targets: Targets,
    tuned: Mapping[Case, Runs],
    best: Mapping[Case, Job],
    final: Mapping[Case, Runs],
) -> None:
    """Print and save what each problem shows."""
    problems: dict[str, Comparison] = {}
    for problem, target in targets.items():
        entries = [
            _entry(asked, case, tuned[case], best.get(case), final.get(case, {}), target)
            for case in tuned
            if case.problem == problem
        ]
        problems[problem] = Comparison(entries, target)
    said = [f"`{asked.line}`"]
    said += [
        f"## {name}\n\n{as_text(one)}" if name else as_text(one) for name, one in problems.items()
    ]
    if len(problems) > 1:
        said.append(f"## all {len(problems)} problems\n\n{as_text_across([*problems.values()])}")
    path = asked.folder / "comparison.md"
    replace(path, "\n\n".join(said) + "\n")
    print("\n".join(["", path.read_text(), f"saved as {shown(path)}"]), flush=True)
    if asked.report:
        report_of(asked.folder)


def _entry(
    asked: Command,
    case: Case,
    tuned: Runs,
    best: Job | None,
    final: Runs,
    target: float | None,
) -> Entry:
    own = chosen(best, [*asked.set_for_all, *asked.keys]) if best else []
    reached = {}
    for folder in final.values():
        summary = status_in(folder) if folder else None
        if folder and summary and summary.status == "finished" and target is not None:
            assert summary.goal is not None
            reached[summary.seed] = until(read_metrics(folder), summary.goal, target)
    return Entry(
        case.contender,
        " ".join(own),
        summaries(tuned),
        summaries(final),
        {seed: one for seed, one in reached.items() if one},
    )
