"""What sweeps cost: of many jobs that are done, and of jobs side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns

from experiments.bench.case import Case, Figure, Measured, ratio
from experiments.bench.clock import Times
from experiments.bench.process import seconds
from experiments.cli.identity import schema
from experiments.cli.store import fill_store
from experiments.results.folder import CONFIG, RunFolder
from experiments.results.metric import Metric
from experiments.results.summary import Summary

SIZES = {"few": 1_000, "many": 10_000}
SEEDS = 10
QUICK = ("pictures=false", "report=false")
SWEEP = ("-m", "experiments", "-m", "task=himmelblau", *QUICK, "sweep.resume=true")
FIVE_SECONDS = ("task=digits", "model=mlp", "trainer.epochs=null", "trainer.steps=2000")
JOBS = 24

ENTRIES = {
    "many": "python -m experiments -m … sweep.resume=true",
    "joblib": "python -m experiments -m … hydra/launcher=joblib",
    "two": "python -m experiments -m …, twice at once",
}


def cases() -> Iterator[Case]:
    """Give a case for each; a round takes long, so that they make a fifth of them."""
    done = [
        Figure("many", "seconds for 10,000 jobs that are done", lambda s: s["many"], 60.0),
        ratio("many", "few", "10,000 jobs that are done over 1,000", 10.0),
    ]
    yield Case("sweeps", "done", "", "", ENTRIES, done, _measured_done, cpu_only=True)
    beside = [
        ratio("joblib", "one by one", f"{JOBS} jobs on two cores over one by one", 1 / 1.7),
        ratio("two", "one by one", f"the same by two commands of {JOBS // 2} jobs"),
    ]
    yield Case("sweeps", "joblib", "", "", ENTRIES, beside, _measured_beside, cpu_only=True)


def _measured_done(rounds: int, _: object) -> Measured:
    times: Times = {name: [] for name in SIZES}
    with TemporaryDirectory() as root:
        for name, count in SIZES.items():
            fill(Path(root, name), count)
        for _round in range(max(2, rounds // 5)):
            for name, count in SIZES.items():
                swept = (f"optim.lr_scale=range(1,{count // SEEDS + 1})", f"seed=range({SEEDS})")
                command = [*SWEEP, *swept, f"hydra.sweep.dir={Path(root, name)}"]
                times[name].append(seconds(Path(root), command))
    return Measured(times, {})


def fill(folder: Path, count: int) -> None:
    """Write the results of as many jobs as a sweep that has finished leaves them."""
    fill_store()
    now = schema()
    for scale, seed in product(range(1, count // SEEDS + 1), range(SEEDS)):
        overrides = ("task=himmelblau", "pictures=False", f"optim.lr_scale={scale}", f"seed={seed}")
        reached = {"step": 100, "distance": 1.0 / scale + seed / 1000}
        run = RunFolder(folder / f"{scale:016x}" / str(seed))
        (run.path / CONFIG).touch()
        run.write_summary(
            Summary(
                "finished",
                seed,
                overrides,
                f"{scale:016x}",
                now,
                "himmelblau",
                Metric("distance"),
                final=reached,
                best=reached,
            )
        )


def _measured_beside(rounds: int, _: object) -> Measured:
    times: Times = {"one by one": [], "joblib": [], "two": []}
    engine = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    command = ["-m", "experiments", "-m", *FIVE_SECONDS, *QUICK]
    with TemporaryDirectory() as root:
        for _round in range(max(2, rounds // 5)):
            whole = [*command, f"seed=range({JOBS})"]
            times["one by one"].append(seconds(Path(root), whole))
            times["joblib"].append(seconds(Path(root), [*whole, *engine]))
            times["two"].append(_both(Path(root), command))
    return Measured(times, {})


def _both(root: Path, command: list[str]) -> float:
    """Return the seconds of two commands at once, each of half the jobs: what a machine allows."""
    halves = [f"seed=range({JOBS // 2})", f"seed=range({JOBS // 2},{JOBS})"]
    folders = [f"hydra.sweep.dir=half{i}.{time_ns()}" for i in range(len(halves))]
    with ThreadPoolExecutor() as pool:
        taken = pool.map(lambda *half: seconds(root, [*command, *half]), halves, folders)
        return max(taken)
