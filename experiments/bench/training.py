"""What the launcher's loop costs: its training beside a bare loop, and beside telemetry."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.loops import SETS
from experiments.bench.process import python

ENTRIES = {
    "launcher": "python -m experiments",
    "telemetry": "python -m experiments telemetry=true",
}
LEAST = 0.97
"""The throughput that the launcher is to have, of that of a bare loop."""
WATCHED = 1.05
"""The time that telemetry may take, each tenth step, of that without."""


def cases() -> Iterator[Case]:
    """Give a case a set."""
    for name in SETS:
        yield Case(
            "training",
            name,
            "",
            "",
            ENTRIES,
            [
                ratio("launcher", "bare", f"training on {name} over a bare loop", 1 / LEAST),
                ratio("telemetry", "launcher", f"training on {name} with telemetry", WATCHED),
            ],
            partial(_measured, name),
            cpu_only=True,
        )


def _measured(name: str, rounds: int, device: torch.device) -> Measured:
    with TemporaryDirectory() as folder:
        command = ["-m", "experiments.bench.loops", name, str(rounds)]
        return Measured(json.loads(python(command, Path(folder))), {})
