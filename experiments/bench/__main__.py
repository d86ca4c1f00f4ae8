"""`python -m experiments.bench`: what transforms cost, as ratios from interleaved rounds."""

import argparse
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.bench.cases import Case, compiled_case, muon_case, step_cases
from experiments.bench.clock import Times, interleave, spread
from experiments.bench.memory import peak_memory
from experiments.bench.report import Figure, as_table, save
from experiments.bench.startup import FIGURES, time_starts


def main() -> int:
    """Measure, print the table, and save it with JSON and picture."""
    parser = argparse.ArgumentParser("python -m experiments.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timings of each variant")
    parser.add_argument("--only", default="", help="part of a case's name: sign, vit, start-up")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds must be an int >= 2, for a spread; got {given.rounds}")
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no CUDA device is there")
    rows: list[Figure] = []
    for case in [*step_cases(), muon_case(), compiled_case()]:
        label = ", ".join(filter(None, case.name.values()))
        if given.only in label:
            print(label, file=sys.stderr)
            rows += measure(case, given.rounds, device)
    if given.only in "start-up":
        print("start-up", file=sys.stderr)
        rows += measure_startup(max(2, given.rounds // 5))
    if not rows:
        parser.error(f"--only {given.only!r} is part of no case's name")
    print(as_table(rows))
    for path in save(given.out, rows, machine(device)):
        print(f"saved: {path}")
    return 0


def measure(case: Case, rounds: int, device: torch.device) -> list[Figure]:
    """Time a case's variants; return a row for each but the first, which they are held to."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, generator=generator).to(device) for shape in case.shapes]
    flat = torch.cat([grad.flatten() for grad in grads])
    copied = torch.empty_like(flat)
    runs: dict[str, Callable[[], Any]] = {"copy": partial(copied.copy_, flat)}
    prepare: dict[str, Callable[[], None]] = {}
    for who, build in case.variants.items():
        params = [torch.empty_like(grad).requires_grad_() for grad in grads]
        optimizer = build(params)
        for group in optimizer.param_groups:
            if who == "rai_toolbox":
                group["param_ndim"] = -1
        runs[who] = optimizer.step
        prepare[who] = partial(_restore, params, grads)
    times = interleave(runs, rounds=rounds, device=device, prepare=prepare)
    if "bare" not in runs:
        return _peer_rows(case, times)
    memory = {who: peak_memory(run, device) for who, run in runs.items()}
    return _copies_rows(case, times, memory)


def measure_startup(rounds: int) -> list[Figure]:
    """Time programs that start; return a row for each figure."""
    times = time_starts(rounds)
    rows = []
    for ours, theirs, words, goal in FIGURES:
        name = {"set": "start-up", "inner": "", "links": ""}
        rows.append(_row(name, "xformopt", words, _ratios(times[ours], times[theirs]), goal))
    return rows


@torch.no_grad()
def _restore(params: list[Tensor], grads: list[Tensor]) -> None:
    """Put parameters, outside any ball, and gradients where they were before the step."""
    for param, grad in zip(params, grads, strict=True):
        param.copy_(grad)
        if param.grad is None:
            param.grad = grad.clone()
        param.grad.copy_(grad)


def _copies_rows(case: Case, times: Times, memory: dict[str, int]) -> list[Figure]:
    """Extra copies: what a step takes beyond the bare one, over a copy of the gradient's bytes."""
    rows = []
    for who, seconds in times.items():
        if who in ("bare", "copy"):
            continue
        pairs = zip(seconds, times["bare"], times["copy"], strict=True)
        copies = [(mine - bare) / copy for mine, bare, copy in pairs]
        row = _row(case.name, who, "extra copies", copies, case.goal)
        rows.append({**row, "memory": (memory[who] - memory["bare"]) / 2**20})
    return rows


def _peer_rows(case: Case, times: Times) -> list[Figure]:
    """Our step over that of each peer."""
    ours = times["xformopt"]
    return [
        _row(case.name, "xformopt", f"over {peer}", _ratios(ours, theirs), case.goal)
        for peer, theirs in times.items()
        if peer not in ("xformopt", "copy")
    ]


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _row(
    name: dict[str, str], who: str, figure: str, values: list[float], goal: float | None
) -> Figure:
    low, median, high = spread(values)
    goal = goal if who == "xformopt" else None
    met = goal is not None and median <= goal
    figures = {"low": low, "median": median, "high": high, "goal": goal, "met": met}
    return {**name, "who": who, "figure": figure, **figures}


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures hang on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
