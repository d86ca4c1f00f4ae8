"""What a run leaves on disk, and prints."""

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
from omegaconf import OmegaConf

from experiments.cli.loading import load_model
from experiments.data.digits import digits
from xformopt.refused import Refused

ROOT = Path(__file__).parents[2]
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


def test_from_another_folder_reaches_97_percent(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "experiments", f"hydra.run.dir={tmp_path}/out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["task"] == "digits"
    assert summary["final"]["test_accuracy"] >= 0.97
    assert "clip_norm" in done.stdout


def test_split_is_fixed_stratified_and_whole():
    first, second, other = digits(), digits(), digits(seed=1)
    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(first, part).pixels, getattr(second, part).pixels)
    assert torch.equal(first.test.pixels, other.test.pixels)
    assert not torch.equal(first.valid.pixels, other.valid.pixels)
    assert set(first.valid.labels.bincount().tolist()) <= {14, 15}
    assert set(first.test.labels.bincount().tolist()) <= {35, 36, 37}
    whole = torch.cat([first.train.pixels, first.valid.pixels, first.test.pixels])
    assert len(whole) == 1797
    assert whole.flatten(1).unique(dim=0).shape[0] == len(whole)


def test_holds_everything(cli: Any):
    result = cli(*SHORT, "optim/inner=adamw", "optim.inner.lr=3e-3", "seed=5", "pictures=true")
    assert result.status == 0
    found = {path.name for path in result.folder.iterdir() if path.is_file()}
    assert found == {
        ".claim.0", "config.yaml", "metrics.jsonl", "summary.json",
        "curves.png", "trajectories.png", "trajectories.npz",
    }  # fmt: skip
    assert "lr: 0.003" in (result.folder / "config.yaml").read_text()
    assert "${" not in (result.folder / "config.yaml").read_text()
    summary = result.read("summary.json")
    assert summary["status"] == "finished"
    assert summary["inner"] == "AdamW"
    assert summary["seed"] == 5
    assert torch.__version__.startswith(summary["environment"]["versions"]["torch"])
    assert len(summary["environment"]["commit"]) >= 40
    assert summary["seconds"] > 0
    assert summary["best"]["distance"] <= summary["final"]["distance"]
    assert [line["step"] for line in result.metrics] == list(range(21))
    for name in ("curves.png", "trajectories.png"):
        assert (result.folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("task", [SHORT, ["task=digits", "trainer.steps=12"]])
def test_same_seed_same_numbers_to_the_bit(cli: Any, task: list[str]):
    def numbers(seed: int) -> list[dict[str, Any]]:
        lines = cli(*task, f"seed={seed}", "trainer.eval_every=4").metrics
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    first = numbers(1)
    assert first == numbers(1)
    assert first != numbers(2)


def test_epochs_steps_and_batch_size(cli: Any):
    by_epoch = cli("trainer.epochs=2", "trainer.batch_size=500")
    assert [line["step"] for line in by_epoch.metrics] == [0, 3, 6]
    by_step = cli("trainer.steps=4", "trainer.batch_size=500", "trainer.eval_every=2")
    assert [line["step"] for line in by_step.metrics] == [0, 2, 4]


def test_without_pictures(cli: Any):
    result = cli(*SHORT, "pictures=false")
    assert result.status == 0
    assert not list(result.folder.glob("*.png"))


def test_config_holds_only_what_is_read(cli: Any):
    result = cli(*SHORT, "optim.inner._target_=torch.optim.Adagrad")
    inner = OmegaConf.load(result.folder / "config.yaml").optim.inner
    assert "amsgrad" not in inner
    assert inner.lr == 0.01


def test_metrics_are_valid_after_a_kill(tmp_path: Path):
    command = [sys.executable, "-m", "experiments", "task=himmelblau", "trainer.steps=1000000"]
    options = [f"hydra.run.dir={tmp_path}/out", "trainer.eval_every=1"]
    process = subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    file = tmp_path / "out/metrics.jsonl"
    while process.poll() is None and not (file.exists() and file.stat().st_size > 2000):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(len(lines)))


def test_prints_plain_lines_and_a_table(cli: Any):
    result = cli(*SHORT)
    assert "himmelblau  step 20/20  loss" in result.out
    assert "\x1b" not in result.out
    assert "inner optimizer" in result.out
    assert str(result.folder.name) in result.out.replace("\n", "")


class TestLoadModel:
    """The network of a run, from Python."""

    def test_answers_as_the_run_did(self, cli: Any):
        run = cli("trainer.epochs=2", "trainer.ema=0.9")
        summary, test = run.read("summary.json"), digits().test
        images = test.pixels.float() / 255
        for weights, figure in (("last", "test_accuracy"), ("last_ema", "ema_test_accuracy")):
            right = load_model(run.folder, weights)(images).argmax(1) == test.labels
            assert right.float().mean().item() == pytest.approx(summary["final"][figure])

    def test_refuses_what_is_not_kept(self, cli: Any):
        run = cli("trainer.steps=1", "trainer.checkpoint=last")
        with pytest.raises(Refused, match="`weights` must be of those that are kept, last, got"):
            load_model(run.folder)
