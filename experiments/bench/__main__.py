"""`python -m experiments.bench`: what transforms cost, as ratios from interleaved rounds."""

import argparse
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import torch

from experiments.bench import (
    attacks,
    changing,
    groups,
    links,
    names,
    pages,
    ranks,
    recipes,
    startup,
    sweeps,
    training,
    updates,
)
from experiments.bench.case import Case
from experiments.bench.report import as_table, save
from experiments.bench.results import Results

KINDS = (
    names, links, updates, groups, changing, ranks, startup, training, pages, sweeps, attacks,
    recipes,
)  # fmt: skip
"""Modules that give cases; what may take longest stands last."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> int:
    """Measure case by case; print the table, and save it with pictures, of a cut run too."""
    parser = _parser()
    given = parser.parse_args()
    device = _checked(parser, given)
    machine = machine_of(device, given.rounds)
    folder = given.resume or given.out or Path("outputs/bench", f"{datetime.now():%Y-%m-%d_%H%M%S}")
    chosen = [case for case in all_cases(device) if given.only in case.label]
    if not chosen:
        parser.error(f"--only {given.only!r} is part of no case's name")
    try:
        results = Results(folder, machine, resume=given.resume is not None)
    except ValueError as error:
        parser.error(str(error))
    try:
        with _stopped_by_sigterm():
            _measure(chosen, results, given.rounds, device)
    except KeyboardInterrupt as stop:
        print("stopped: what was measured until now is kept", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    finally:
        if results.rows:
            print(as_table(results.rows))
            for path in (results.path, *save(folder, results.rows)):
                print(f"saved: {path}")
    return 0


def all_cases(device: torch.device) -> Iterator[Case]:
    """Give all cases that can be measured on a device."""
    for kind in KINDS:
        yield from (case for case in kind.cases() if device.type == "cpu" or not case.cpu_only)


def machine_of(device: torch.device, rounds: int) -> dict[str, Any]:
    """Return what the figures hang on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
    }


def _parser() -> Parser:
    parser = Parser("python -m experiments.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timings of each variant")
    parser.add_argument("--only", default="", help="part of a case's name: names, vit, l2_norm")
    parser.add_argument("--threads", type=int, help="threads of torch; its own number by default")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, help="a folder for results; outputs/bench/NOW else")
    where.add_argument("--resume", type=Path, metavar="OUT", help="go on with what stands there")
    return parser


def _checked(parser: Parser, given: argparse.Namespace) -> torch.device:
    """Return the device; exit where a value is wrong. Sets the number of threads."""
    if given.rounds < 2:
        parser.error(f"--rounds must be an int >= 2, for a spread; got {given.rounds}")
    if given.threads is not None and given.threads < 1:
        parser.error(f"--threads must be an int >= 1; got {given.threads}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no CUDA device is there")
    if given.threads:
        torch.set_num_threads(given.threads)
    return torch.device(given.device)


def _measure(cases: list[Case], results: Results, rounds: int, device: torch.device) -> None:
    """Measure what the results do not hold yet; say each figure as it comes."""
    for case in cases:
        if case.label in results.cases:
            continue
        print(case.label, file=sys.stderr, flush=True)
        results.add(case.label, case.rows(rounds, device))
        for row in results.cases[case.label]:
            said = f"  {row['entry']}: {row['figure']} {row['median']:.2f}"
            print(said, file=sys.stderr, flush=True)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM stop the block as Ctrl-C does."""

    def stop(signum: int, _: Any) -> NoReturn:
        raise KeyboardInterrupt(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
