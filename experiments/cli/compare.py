"""`python -m experiments.compare`: contenders that are tuned alike, then judged by fresh seeds."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.cli.command import SWEEP, overrides_of, with_choices
from experiments.cli.errors import reported
from experiments.cli.launch import launched
from experiments.cli.searching import without_ranges
from experiments.cli.store import fill_store
from experiments.cli.table import shown
from experiments.cli.words import taken
from experiments.results.comparison import Comparison, Entry, as_text
from experiments.results.folder import replace, status_in
from experiments.results.swept import settings
from experiments.sweeps.jobs import Job
from experiments.sweeps.listed import quoted
from experiments.sweeps.protocol import (
    Case,
    Runs,
    best_of,
    cases,
    chosen,
    is_of_problem,
    summaries,
    until,
)
from xformopt.refused import Refused, check_count

USAGE = """\
python -m experiments.compare optim=A,B,… folder=DIR [trials=16 seeds=5 target=0.9 task=… …]

What is swept are contenders; what is swept of `task`, `data` and `model` problems. Each contender
is run `trials` times on each problem, at points of its own search space, which `python -m xformopt
NAME` shows. What is best on `valid` after the last step is run with `seeds` fresh seeds, and judged
on `test`. The same command goes on with what is not finished, and may ask for more contenders,
trials or seeds. All else is as for `python -m experiments -m`."""

WORDS = {"trials": 16, "seeds": 5, "target": None, "folder": None}
TUNING_SEED = 0
"""That of all trials; those of the final runs are above it."""


class Command(NamedTuple):
    """How contenders are compared.

    `given` is for each job, `searched` for the trials, and `swept` tells jobs apart.
    """

    folder: Path
    trials: int
    seeds: int
    target: float | None
    given: list[str]
    searched: list[str]
    swept: list[str]

    @property
    def keys(self) -> list[str]:
        """Return the keys that are swept."""
        return [*settings(self.swept)]

    @property
    def set_for_all(self) -> list[str]:
        """Return the keys that are the same in each job."""
        return [*settings(self.given)]


def compare(arguments: Sequence[str]) -> int:
    """Run a comparison; return the exit status, 1 where a run failed."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    try:
        command = _command(arguments)
    except Exception as error:
        return reported(error)
    space = (f"sweep.trials={command.trials}", f"seed={TUNING_SEED}", *command.searched)
    status, sweep = launched(_part(command, "trials", *command.swept, *space))
    if sweep is None or sweep.was_stopped:
        return status
    tuned = cases(sweep.runs, command.keys)
    best = {case: job for case, runs in tuned.items() if (job := best_of(runs))}
    if not best:
        print("error: no trial of any contender was finished", file=sys.stderr)
        return 1
    seeds = ",".join(str(TUNING_SEED + 1 + i) for i in range(command.seeds))
    final_status, final = launched(
        _part(command, "final", f"sweep.list={_keep(command, best)}", f"seed={seeds}")
    )
    if final is None:
        return final_status
    _report(command, tuned, best, cases(final.runs, command.keys))
    return max(status, final_status)


def _command(arguments: Sequence[str]) -> Command:
    own = {a.partition("=")[0]: a for a in arguments if a.partition("=")[0] in WORDS}
    parser = OverridesParser.create()
    words: dict[str, Any] = WORDS | {k: parser.parse_override(a).value() for k, a in own.items()}
    check_count("trials", words["trials"])
    check_count("seeds", words["seeds"])
    if not isinstance(words["target"], float | int | None):
        raise Refused("target", "a number, or left out", words["target"])
    if not isinstance(words["folder"], str):
        raise Refused("folder", "where the runs go", words["folder"], "`folder=DIR`")
    words["folder"] = Path(words["folder"])
    others = [a for a in arguments if a not in own.values() and a not in SWEEP]
    given, searched, swept = _sorted(others)
    return Command(**words, given=given, searched=searched, swept=swept)


def _sorted(others: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return what is given for all jobs, what is searched, and what is swept."""
    fill_store(taken(["-m", "sweep.trials=1", *others]).trusted)
    for key in settings(others):
        if key in ("seed", "sweep.trials", "sweep.list", "sweep.resume"):
            way_out = "`trials=N`, `seeds=N`, and the command goes on by itself"
            raise Refused(f"`{key}`: a comparison has its own; {way_out}")
    searched = [a for a in others if a.startswith("sweep.sampler=")]
    ours = [a for a in others if a.startswith(("trust=", "rerun=", "sweep.", "-"))]
    plain = with_choices(a for a in others if a not in ours)
    left, _ = without_ranges(plain)
    intervals = [a for a in plain if a not in left]
    swept = [str(one.input_line) for one in overrides_of(left) if one.is_sweep_override()]
    if all(map(is_of_problem, settings(swept))):
        raise Refused("nothing is compared: name contenders, as `optim=sgd_momentum,lion`")
    given = [a for a in (*ours, *plain) if a not in (*swept, *intervals, *searched)]
    return given, [*searched, *intervals], swept


def _part(command: Command, name: str, *more: str) -> list[str]:
    """Return the command line of a sweep that is a part of the comparison, and goes on."""
    where = f"hydra.sweep.dir={quoted(str(command.folder / name))}"
    return ["-m", *command.given, *more, where, "sweep.resume=true"]


def _keep(command: Command, best: Mapping[Case, Job]) -> str:
    """Write what was chosen of each case into a file, a list of jobs; return its name."""
    path = command.folder / "chosen.yaml"
    replace(path, yaml.safe_dump([chosen(job, command.set_for_all) for job in best.values()]))
    return quoted(str(path))


def _report(
    command: Command,
    tuned: Mapping[Case, Runs],
    best: Mapping[Case, Job],
    final: Mapping[Case, Runs],
) -> None:
    """Print and save what each problem shows."""
    said = []
    for problem in dict.fromkeys(case.problem for case in tuned):
        entries = [
            _entry(command, case, tuned[case], best.get(case), final.get(case, {}))
            for case in tuned
            if case.problem == problem
        ]
        said += [f"## {problem}"] if problem else []
        said.append(as_text(Comparison(entries, command.target is not None)))
    path = command.folder / "comparison.md"
    replace(path, "\n\n".join(said) + "\n")
    print("\n".join(["", path.read_text(), f"saved as {shown(path)}"]), flush=True)


def _entry(command: Command, case: Case, tuned: Runs, best: Job | None, final: Runs) -> Entry:
    own = chosen(best, [*command.set_for_all, *command.keys]) if best else []
    reached = {}
    for folder in final.values():
        summary = status_in(folder) if folder else None
        if folder and summary and summary.status == "finished" and command.target is not None:
            assert summary.goal is not None
            reached[summary.seed] = until(folder, summary.goal, command.target)
    return Entry(
        case.contender,
        " ".join(own),
        summaries(tuned),
        summaries(final),
        {seed: one for seed, one in reached.items() if one},
    )
