"""What starting costs: our programs beside bare ones, each in a process of its own."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.clock import Times
from experiments.bench.process import seconds

HYDRA_PROGRAM = """
import hydra, torch
@hydra.main(config_path=None, version_base="1.3")
def app(cfg): {body}
app()
"""
STEP = "torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).step()"
TOY = ["-m", "experiments", "task=rosenbrock"]
FEW, MANY = 2, 12

FIGURES = [
    ratio("xformopt", "torch", "import xformopt over torch alone", 1.1),
    ratio("toy", "bare", "one-step toy run over bare Hydra and torch", 1.5),
    ratio("toy", "step", "one-step toy run over a step of SGD under Hydra"),
    ratio("toy job", "bare job", "100-step toy job of a sweep over a bare job", 2.0),
]
ENTRIES = {
    "xformopt": "import xformopt",
    "toy": "python -m experiments task=rosenbrock",
    "toy job": "python -m experiments task=rosenbrock -m",
}


def cases() -> Iterator[Case]:
    """Give the one case; a round takes long, so that it makes a fifth of them."""
    yield Case(
        "start-up",
        "",
        "",
        "",
        ENTRIES,
        FIGURES,
        lambda rounds, device: Measured(time_starts(max(2, rounds // 5)), {}),
        cpu_only=True,
    )


def time_starts(rounds: int) -> Times:
    """Return the seconds of each program in each round; of a sweep's job, without the start."""
    times: Times = {}
    with TemporaryDirectory() as name:
        programs = _programs(Path(name))
        for _ in range(rounds):
            for program, run in programs.items():
                times.setdefault(program, []).append(run())
    return times


def _programs(folder: Path) -> dict[str, Callable[[], float]]:
    for name, body in (("bare", "torch.zeros(1)"), ("step", STEP)):
        (folder / f"{name}.py").write_text(HYDRA_PROGRAM.format(body=body))
    timed = partial(seconds, folder)
    toy_job = [*TOY, "-m", "trainer.steps=100", "pictures=false", "report=false"]
    return {
        "torch": partial(timed, ["-c", "import torch"]),
        "xformopt": partial(timed, ["-c", "import torch, xformopt"]),
        "bare": partial(timed, ["bare.py"]),
        "step": partial(timed, ["step.py"]),
        "toy": partial(timed, [*TOY, "trainer.steps=1"]),
        "bare job": lambda: _per_job(timed, ["bare.py", "-m"], "+x"),
        "toy job": lambda: _per_job(timed, toy_job, "seed"),
    }


def _per_job(timed: Callable[[list[str]], float], command: list[str], key: str) -> float:
    few, many = (timed([*command, f"{key}=range({count})"]) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)
