"""Several processes that train one network give what one process gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from experiments.data.augmentations import crop
from experiments.data.batches import Batches
from experiments.data.contract import Images

ROOT = Path(__file__).parents[2]
SHORT = ("model=mlp", "model.hidden=[16]", "trainer.epochs=1", "trainer.batch_size=48")
NORMED = ("model=small_cnn", "model.width=4", *SHORT[2:])
PIECES = "trainer.accumulate=5"
OPTIM = ("optim=sgd_momentum", "augment=[crop]", "trainer.eval_every=9", "pictures=false")
COMMAND = (*SHORT, *OPTIM, PIECES)
KINDS = """
import torch
from torch import nn
from experiments import register


class Rectified(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input).relu()


@register.model
def kinds(shape, classes):
    norms = [
        Rectified(4, momentum=None),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4, bias=False).double(),
    ]
    to, back = (Cast(dtype) for dtype in (torch.float64, torch.float32))
    body = [nn.Conv2d(shape[0], 4, 3, padding=1), *norms[:3], to, norms[3], back]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(4 * shape[1:].numel(), classes))


class Cast(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, input):
        return input.to(self.dtype)
"""
COMMANDS = {
    "mlp": COMMAND,
    "batch norm": (*NORMED, *OPTIM),
    "attacks": (
        *SHORT,
        *OPTIM,
        "trainer.adversarial=pgd_linf",
        "trainer.adversarial.steps=2",
        "trainer.adversarial.random_start=false",
        "eval.attacks=[fgsm]",
        "eval.every=1",
    ),
    "kinds": ("trust=kinds", "model=kinds", *SHORT[2:], *OPTIM),
}
PARTS = '''
import os, torch
from torch import distributed
from experiments import register
from experiments.results.metric import Metric
from experiments.tasks.classification import Classification

@register.task
class Together(Classification):
    """Measures how far ranks are apart, and may break."""

    choices = {}

    def __init__(self):
        super().__init__()
        self.metrics = (*self.metrics, Metric("apart"), Metric("drawn"))
        self.steps, self.drawn = 0, torch.zeros(1)

    def loss(self, model, batch):
        self.steps += 1
        if self.steps == int(os.environ.get("BREAKS", 0)) and distributed.get_rank() == 1:
            raise RuntimeError("it breaks")
        self.drawn = torch.rand(1)
        return super().loss(model, batch)

    def evaluate(self, model, batches):
        own = torch.cat([p.detach().flatten() for p in model.parameters()])
        found = {"apart": self.spread(own), "drawn": self.spread(self.drawn)}
        return super().evaluate(model, batches) | found

    def spread(self, own):
        first = own.clone()
        distributed.broadcast(first, 0)
        apart = (own - first).abs().max()
        distributed.all_reduce(apart, distributed.ReduceOp.MAX)
        return float(apart)
'''


def started(folder: Path, *words: str, ranks: int = 2, **environment: str) -> Any:
    starter = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--no-python"]
    start = [*starter, sys.executable] if ranks > 1 else []
    return subprocess.run(
        [sys.executable, *start, "-m", "experiments", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1", **environment},
    )


def lines(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in found]


@pytest.fixture(scope="module", params=COMMANDS)
def single(tmp_path_factory: Any, request: Any) -> tuple[Path, tuple[str, ...]]:
    """One process, and the command that it was given."""
    folder, command = tmp_path_factory.mktemp("single"), COMMANDS[request.param]
    (folder / "kinds.py").write_text(KINDS)
    done = started(folder, *command, "hydra.run.dir=run", ranks=1)
    assert done.returncode == 0, done.stderr
    return folder / "run", command


@pytest.mark.timeout(240)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_give_what_one_gives(tmp_path: Path, single: Any, strategy: str):
    run, command = single
    if "trust=kinds" in command:
        (tmp_path / "kinds.py").write_text(KINDS)
    done = started(tmp_path, *command, f"trainer.strategy={strategy}", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    for found, expected in zip(lines(tmp_path / "run"), lines(run), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for name in ("last", "best"):
        weights = load_file(tmp_path / f"run/{name}.safetensors")
        for key, value in load_file(run / f"{name}.safetensors").items():
            torch.testing.assert_close(weights[key], value, rtol=1e-4, atol=1e-5)
    assert done.stdout.count("digits  step 27/27") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "kinds.py", "__pycache__"}


@pytest.mark.timeout(240)
def test_an_interruption_is_saved(tmp_path: Path, interruptible: None):
    words = (*SHORT[:2], "trainer.epochs=9999", "trainer.strategy=ddp", "hydra.run.dir=run")
    starter = ["-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "experiments"]
    process = subprocess.Popen(
        [sys.executable, *starter, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    figures = tmp_path / "run/metrics.jsonl"
    while process.poll() is None and not (
        figures.exists() and figures.read_bytes().count(b"\n") > 1
    ):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert len([*(tmp_path / "run/checkpoints").iterdir()]) == 1, err
    assert "`resume=run` goes on from the last checkpoint" in out
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    assert err.count("it stops after this step or evaluation\n") == 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_links_draw_alike_and_dropout_apart_also_when_resumed(tmp_path: Path):
    (tmp_path / "together.py").write_text(PARTS)
    words = (*COMMAND, "trust=together", "task=Together", "data=digits", "model.dropout=0.5")
    random = ("optim/transforms=[gradient_noise,random_sparse]", "trainer.strategy=ddp")
    command = (*words, *random, "trainer.checkpoint_every=4")
    done = started(tmp_path, *command, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    broken = started(tmp_path, *command, "hydra.run.dir=parted", BREAKS="75")
    assert broken.returncode == 1
    assert "error: rank 1: RuntimeError: it breaks; raised at " in broken.stderr
    again = started(tmp_path, f"resume={tmp_path}/parted", "trust=together")
    assert again.returncode == 0, again.stderr
    whole, parted = lines(tmp_path / "whole"), lines(tmp_path / "parted")
    assert parted == whole
    assert [line["valid_apart"] for line in whole] == [0.0] * 4
    assert all(line["valid_drawn"] for line in whole[1:])


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_run_under_fsdp_is_not_resumed(tmp_path: Path):
    command = ("trainer.strategy=fsdp", "trainer.steps=2", "pictures=false", "hydra.run.dir=run")
    assert started(tmp_path, *command).returncode == 0
    summary = tmp_path / "run/summary.json"
    summary.write_text(summary.read_text().replace("finished", "interrupted"))
    again = started(tmp_path, "resume=run")
    assert again.returncode == 1
    assert again.stderr.count("error: `resume` must be a run that saves checkpoints") == 1
    assert "error: rank" not in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trainer.strategy=ddp",), "`trainer.strategy` must be none for a single process, got"),
        (("trainer.strategy=dp",), "`trainer.strategy` must be none, ddp or fsdp, got 'dp'"),
        (("task=beale", "trainer.strategy=ddp"), "`trainer.strategy` must be none"),
    ],
)
def test_refuses(cli: Any, words: tuple[str, ...], said: str):
    assert said in cli(*words).line


def test_several_processes_without_a_strategy(cli: Any, monkeypatch: Any):
    monkeypatch.setattr("experiments.run.ranks.ranks", lambda: 2)
    assert "`trainer.strategy` must be ddp or fsdp, where 2 processes run, got" in cli().line


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_shares_make_up_the_batch(ranks: int):
    """Of 37 images in batches of 12, the last batch is one image, which one rank alone has."""
    pixels = torch.randint(256, (37, 1, 4, 4), dtype=torch.uint8)
    images, device = Images(pixels, torch.arange(37)), torch.device("cpu")
    augment = {"crop": lambda x, g: crop(x, g, padding=1)}
    whole = Batches(images, 12, 0, device, augment)
    shares = [Batches(images, 12, 0, device, augment, (rank, ranks)) for rank in range(ranks)]
    for step in range(9):
        expected, labels = whole.at(step)
        parts = [(share.weight(step), *share.at(step)) for share in shares]
        counted = [(some, classes) for weight, some, classes in parts if weight]
        assert torch.equal(torch.cat([some for some, _ in counted]), expected)
        assert torch.equal(torch.cat([classes for _, classes in counted]), labels)
        assert all(len(some) for _, some, _ in parts)
        mean = sum(weight * some.mean() for weight, some, _ in parts) / ranks
        assert float(mean) == pytest.approx(float(expected.mean()))
