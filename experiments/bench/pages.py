"""What a report costs: a page of many runs, with many evaluations each."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.bench.case import Case, Figure, Measured
from experiments.bench.clock import Times
from experiments.bench.process import seconds
from experiments.results.folder import CONFIG, METRICS, RunFolder
from experiments.results.metric import Metric
from experiments.results.summary import Summary

CONTENDERS, SEEDS, EVALUATIONS = 200, 5, 200
OPTIMIZERS = ("lion", "muon", "sgd_momentum", "adamw_parts")


def cases() -> Iterator[Case]:
    """Give the one case, of 1,000 runs; a round takes long, so that it makes a fifth of them."""
    words = f"seconds for {CONTENDERS * SEEDS:,} runs of {EVALUATIONS} evaluations"
    yield Case(
        "report",
        "",
        "",
        "",
        {"report": "python -m experiments.report"},
        [
            Figure("report", words, lambda s: s["report"], 30.0),
            Figure("report", "MB of its page", lambda s: s["megabytes"], 20.0),
        ],
        _measured,
        cpu_only=True,
    )


def _measured(rounds: int, _: object) -> Measured:
    times: Times = {"report": [], "megabytes": []}
    with TemporaryDirectory() as root:
        fill(Path(root, "runs"))
        for _round in range(max(2, rounds // 5)):
            times["report"].append(seconds(Path(root), ["-m", "experiments.report", "runs"]))
            times["megabytes"].append(Path(root, "runs", "report.html").stat().st_size / 1e6)
    return Measured(times, {})


def fill(folder: Path) -> None:
    """Write what so many runs leave."""
    for contender in range(CONTENDERS):
        for seed in range(SEEDS):
            _leave(RunFolder(folder / f"{contender:016x}" / str(seed)), contender, seed)


def _leave(run: RunFolder, contender: int, seed: int) -> None:
    (run.path / CONFIG).touch()
    lines = [
        {
            "step": 10 * i,
            "loss": 2.3 / (1 + i) + seed / 100,
            "valid_loss": 2.4 / (1 + i) + contender / 1000,
            "valid_accuracy": 0.9 - 0.8 / (1 + i) + (seed * contender % 7) / 1000,
            "seconds": i / 10,
        }
        for i in range(EVALUATIONS)
    ]
    (run.path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    last = {name: value for name, value in lines[-1].items() if name != "seconds"}
    final = last | {"test_accuracy": last["valid_accuracy"] - 0.01}
    optim = OPTIMIZERS[contender % len(OPTIMIZERS)]
    scale = 1 + contender // len(OPTIMIZERS)
    words = (f"optim={optim}", f"optim.lr_scale={scale}", f"seed={seed}")
    about = {"task": "digits", "goal": Metric("valid_accuracy", "max"), "model": "cnn"}
    held = {"seed": seed, "overrides": words, "identity": f"{contender:016x}", "epoch": 20}
    run.write_summary(Summary("finished", final=final, best=final, **held, **about))
