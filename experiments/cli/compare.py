"""`python -m experiments.compare`: contenders that are tuned alike, then judged by fresh seeds."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.cli.command import overrides_of
from experiments.cli.errors import failure
from experiments.cli.launch import launched
from experiments.cli.table import shown
from experiments.results.comparison import Comparison, Entry, as_text
from experiments.results.folder import replace, status_in
from experiments.sweeps.jobs import Job
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
    """How contenders are compared; `given` is for each job, `swept` what tells jobs apart."""

    folder: Path
    trials: int
    seeds: int
    target: float | None
    given: list[str]
    swept: list[str]

    @property
    def keys(self) -> list[str]:
        """Return the keys that are swept."""
        return [line.partition("=")[0] for line in self.swept]


def compare(arguments: Sequence[str]) -> int:
    """Run a comparison; return the exit status, 1 where a run failed."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    try:
        command = _command(arguments)
    except Exception as error:
        print(f"error: {failure(error).line}", file=sys.stderr)
        return 2
    space = (f"sweep.trials={command.trials}", f"seed={TUNING_SEED}")
    status, sweep = launched(_part(command, "trials", *command.swept, *space))
    if sweep is None:
        return status
    tuned = cases(sweep.runs(), command.keys)
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
    _report(command, tuned, best, cases(final.runs(), command.keys))
    return max(status, final_status)


def _command(arguments: Sequence[str]) -> Command:
    own = {a.partition("=")[0]: a for a in arguments if a.partition("=")[0] in WORDS}
    parser = OverridesParser.create()
    words: dict[str, Any] = WORDS | {k: parser.parse_override(a).value() for k, a in own.items()}
    others = [a for a in arguments if a not in own.values() and a not in ("-m", "--multirun")]
    check_count("trials", words["trials"])
    check_count("seeds", words["seeds"])
    if not isinstance(words["target"], float | int | None):
        raise Refused("target", "a number, or left out", words["target"])
    if not isinstance(words["folder"], str):
        raise Refused("folder", "where the runs go", words["folder"], "`folder=DIR`")
    swept = [str(one.input_line) for one in overrides_of(others) if one.is_sweep_override()]
    if any(argument.startswith("seed=") for argument in others):
        raise Refused("`seed`: trials have one, and `seeds=N` says how many the final runs have")
    if all(is_of_problem(line.partition("=")[0]) for line in swept):
        raise Refused("nothing is compared: name contenders, as `optim=sgd_momentum,lion`")
    given = [argument for argument in others if argument not in swept]
    words["folder"] = Path(words["folder"])
    return Command(**words, given=given, swept=swept)


def _part(command: Command, name: str, *more: str) -> list[str]:
    """Return the command line of a sweep that is a part of the comparison, and goes on."""
    where = f"hydra.sweep.dir={command.folder / name}"
    return ["-m", *command.given, *more, where, "sweep.resume=true"]


def _keep(command: Command, best: Mapping[Case, Job]) -> Path:
    """Write what was chosen of each case into a file, a list of jobs."""
    path = command.folder / "chosen.yaml"
    replace(path, yaml.safe_dump([chosen(job, _given(command)) for job in best.values()]))
    return path


def _given(command: Command) -> list[str]:
    return [line.lstrip("+").partition("=")[0] for line in command.given]


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
    own = chosen(best, [*_given(command), *command.keys]) if best else {}
    reached = {}
    for folder in final.values():
        summary = status_in(folder) if folder else None
        if folder and summary and summary.goal and command.target is not None:
            reached[summary.seed] = until(folder, summary.goal, command.target)
    return Entry(
        case.contender,
        " ".join(f"{key}={value}" for key, value in own.items()),
        summaries(tuned),
        summaries(final),
        {seed: one for seed, one in reached.items() if one},
    )
