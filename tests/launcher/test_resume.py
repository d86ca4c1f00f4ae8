"""A run that is cut off and goes on is the run that was not, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from experiments.cli.runner import Runner
from experiments.cli.store import fill_store
from experiments.observers.curves import Curves
from experiments.results import evaluations, telemetry
from experiments.results.claim import claimed
from experiments.results.folder import RunFolder
from experiments.results.summary import Summary
from experiments.run import checkpoint, interrupting, loop
from experiments.run.checkpoint import Every
from experiments.run.state import State
from tests.test_configs import composed
from xformopt import recipes
from xformopt.refused import Refused

fill_store()
ROOT = Path(__file__).parents[2]
FASHION = Path("/usr/share/datasets/fashion-mnist")
KILLS = 10
LONG = ("trainer.steps=8", "trainer.eval_every=2", "trainer.checkpoint_every=3")
MLP = ("model=mlp", "model.hidden=[8]", "trainer.batch_size=32", "pictures=false", *LONG)
DROPOUT = ("model=mlp", "model.hidden=[8]", "model.dropout=0.5", "pictures=false", *LONG)
RANDOM = "optim/transforms=[gradient_noise,top_q,random_sparse]"


def cut(monkeypatch: Any, step: int) -> Callable[[], None]:
    """Interrupt runs before they make that step; return what lets them be again."""
    make = loop.step

    def interrupted(parts: Any) -> None:
        if parts.state.step == step:
            raise KeyboardInterrupt
        make(parts)

    monkeypatch.setattr(loop, "step", interrupted)
    return lambda: monkeypatch.setattr(loop, "step", make)


def run(cfg: Any, folder: Path, overrides: tuple[str, ...], *, resumes: Path | None = None) -> None:
    session = Runner()
    session.resumes = resumes
    reached = session.run(cfg.copy(), folder, overrides)
    assert isinstance(reached, Summary), reached.line


def left(folder: Path) -> dict[str, Any]:
    """All that a run leaves, without the time that it took."""
    summary = json.loads((folder / "summary.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    files = [*folder.glob("*.png"), *folder.rglob("*.safetensors")]
    return {
        "lines": [untimed(line) for line in lines],
        **{key: untimed(summary[key]) for key in ("final", "best")},
        **{key: summary[key] for key in ("status", "overrides", "transforms", "conditions")},
        "notes": [n for n in summary["notes"] if "the run goes on" not in n and " took " not in n],
        "telemetry": telemetry.read(folder),
        "evaluations": [(one.key, one.metrics) for one in evaluations.read(folder)],
        "target": {k: v for k, v in summary["target"].items() if k != "seconds"},
        **{str(path.relative_to(folder)): path.read_bytes() for path in files},
    }


def untimed(figures: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in figures.items() if not k.endswith("seconds")}


@pytest.fixture
def goes_on(tmp_path: Path, monkeypatch: Any, clean_hydra: None) -> Callable[..., dict[str, Any]]:
    """Run what a command says, whole and cut off; what both leave is the same and is returned."""

    def compare(*overrides: str, at: int = 5) -> dict[str, Any]:
        cfg = composed("threads=1", *overrides)
        whole, parted = (tmp_path / name for name in ("whole", "parted"))
        run(cfg, whole, overrides)
        mend = cut(monkeypatch, at)
        with pytest.raises(KeyboardInterrupt):
            run(cfg, parted, overrides)
        mend()
        saved: Any = OmegaConf.load(parted / "config.yaml")
        run(saved, parted, (), resumes=parted)
        expected, found = left(whole), left(parted)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == value, key
        return found

    return compare


@pytest.mark.parametrize("recipe", recipes.names())
def test_every_recipe(goes_on: Any, recipe: str):
    goes_on(f"optim={recipe}", *MLP)


@pytest.mark.parametrize(
    "more",
    [
        ("optim/inner=adamw",),
        ("optim/inner=lbfgs", "optim.inner.lr=0.01"),
        ("optim/inner=adamw", RANDOM, "optim.transforms.top_q.dq=0.1"),
        ("optim=muon", "trainer.precision=bf16"),
        ("trainer.precision=fp16", "trainer.accumulate=2"),
        ("trainer.ema=0.9", "schedule=one_cycle", "trainer.target=0.05"),
        ("trainer.patience=2", "optim.inner.lr=0"),
        ("optim.inner._target_=schedulefree.AdamWScheduleFree",),
        ("augment=[crop,flip]", "trainer.steps=9"),
        ("eval/attacks=[fgsm]", "eval.every=2", "eval.subset=20", "eval.corruptions=[fog]"),
        ("trainer/adversarial=pgd_linf", "trainer.adversarial.steps=2"),
        ("trainer/adversarial=fast", "trainer.adversarial.step_size=0.5"),
        ("trainer/adversarial=free", "trainer.adversarial.replays=3"),
        ("trainer/adversarial=trades", "trainer.adversarial.steps=2"),
    ],
    ids=lambda more: more[0].partition("=")[2],
)
def test_drawn_numbers_averages_and_precisions(goes_on: Any, more: tuple[str, ...]):
    goes_on(*DROPOUT, *more, at=3)


def test_all_of_a_state_is_saved():
    kept = {*checkpoint.COUNTERS, *checkpoint.KEEPERS}
    apart = {"model", "average", "last", "best"}  # weights, and figures
    assert kept | apart | {"plain"} == {field.name for field in fields(State)}


@pytest.mark.parametrize("at", [0, 2, 3, 4, 7])
def test_wherever_it_is_cut(goes_on: Any, at: int):
    found = goes_on(*DROPOUT, "trainer.ema=0.5", at=at)
    assert [line["step"] for line in found["lines"]] == [0, 2, 4, 6, 8]


def test_the_way_of_points_is_drawn_whole(goes_on: Any):
    found = goes_on("task=beale", "trainer.steps=300", "trainer.checkpoint_every=120", at=200)
    assert "trajectories.png" in found


@pytest.mark.parametrize("at", [3, 5, 6])
def test_telemetry_has_each_step_once(goes_on: Any, at: int):
    found = goes_on(*MLP, "telemetry=2", at=at)
    assert {line["step"] for line in found["telemetry"]} == {1, 3, 5, 7}


def test_images_that_are_read_by_workers(goes_on: Any, tmp_path: Path):
    drawn = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "images" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    where = (f"data.root={tmp_path}/images", "data.size=8", "data.gib=0", "data.workers=1")
    found = goes_on(
        "task=classification",
        "data=imagefolder",
        *where,
        *DROPOUT,
        "trainer.batch_size=4",
        "pictures=true",
    )
    assert "worst.png" in found


class TestCheckpoint:
    def test_holds_nothing_but_data(self, cli: Any):
        kept = cli(*MLP, "trainer.ema=0.9").folder / "checkpoints"
        assert [path.name for path in kept.iterdir()] == ["step_8"]
        held = torch.load(kept / "step_8/state.pt", weights_only=True)
        assert held["step"] == 8
        names = {path.stem for path in kept.rglob("*.safetensors")}
        assert names == {"model", "average", "best", "best_ema"}

    def test_every_so_many_seconds(self, monkeypatch: Any, tmp_path: Path):
        now = 0.0
        monkeypatch.setattr(checkpoint, "perf_counter", lambda: now)
        kept = checkpoint.Checkpoints(tmp_path, Every.of("2.5s"))
        assert not kept.is_due(1)
        now = 2.5
        assert kept.is_due(1)

    @pytest.mark.parametrize("said", [0, True, "s", "0s", "1e3s", "-1s", "5m", 2.5])
    def test_refuses(self, said: Any):
        with pytest.raises(Refused, match="`checkpoint_every` must be steps, as 200, seconds, as"):
            Every.of(said)

    def test_unfinished_ones_are_passed_over(self, tmp_path: Path):
        for name in ("step_9", "step_10", "step_11.part"):
            (tmp_path / "checkpoints" / name).mkdir(parents=True)
        assert checkpoint.found(tmp_path) == tmp_path / "checkpoints/step_10"

    def test_leaves_alone_what_is_not_its_own(self, cli: Any, monkeypatch: Any):
        mend = cut(monkeypatch, 5)
        folder = cli(*MLP).folder
        mend()
        mine = folder / "checkpoints/mine"
        mine.write_text("mine")
        assert cli(f"resume={folder}").status == 0
        assert mine.read_text() == "mine"

    def test_of_weights_in_another_layout(self, cli: Any):
        target = f"model._target_={__name__}.across"
        run = cli("task=classification", "data=digits", target, *LONG, "pictures=false")
        assert run.status == 0, run.err
        assert (run.folder / "checkpoints/step_8/best.safetensors").exists()


def across(shape: Any, classes: int) -> torch.nn.Module:
    """A network whose convolution lies channels last."""
    first, second = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3)
    second.weight.data = second.weight.data.contiguous(memory_format=torch.channels_last)
    return torch.nn.Sequential(
        first, second, torch.nn.Flatten(), torch.nn.Linear(8 * 6 * 6, classes)
    )


class TestCommand:
    def test_goes_on_and_says_from_where(self, cli: Any, monkeypatch: Any):
        mend = cut(monkeypatch, 5)
        first = cli(*MLP, "seed=3")
        assert first.read("summary.json")["status"] == "interrupted"
        assert f"note: `resume={first.folder.name}` goes on from the last checkpoint" in first.out
        mend()
        again = cli(f"resume={first.folder}")
        assert again.status == 0, again.err
        assert "note: the run goes on from step_3" in again.out
        summary = first.read("summary.json")
        assert "the run goes on from step_3" in summary["notes"]
        assert summary["overrides"][-1] == "seed=3"
        assert summary["status"] == "finished"

    @pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(("times", "saved"), [(1, "step_6"), (2, "step_3")])
    def test_a_signal_waits_until_the_step_is_saved(
        self, cli: Any, monkeypatch: Any, interruptible: None, way: int, times: int, saved: str
    ):
        whole = left(cli(*MLP).folder)
        make = loop.step

        def signalled(parts: Any) -> None:
            for _ in range(times if parts.state.step == 5 else 0):
                os.kill(os.getpid(), way)
            make(parts)

        monkeypatch.setattr(loop, "step", signalled)
        first = cli(*MLP)
        monkeypatch.setattr(loop, "step", make)
        assert (first.status, first.err) == (130, "error: interrupted\n")
        assert [path.name for path in (first.folder / "checkpoints").iterdir()] == [saved]
        assert f"`resume={first.folder.name}` goes on from the last checkpoint" in first.out
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        cli(f"resume={first.folder}")
        assert left(first.folder) == whole

    @pytest.mark.parametrize("stderr", ["closed", "open"])
    def test_a_signal_goes_before_an_error_that_follows(
        self, cli: Any, monkeypatch: Any, interruptible: None, stderr: str
    ):
        def breaks(parts: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("a worker is gone")

        if stderr == "closed":
            reading, writing = os.pipe()
            os.close(reading)
            monkeypatch.setattr(interrupting, "STDERR", writing)
        monkeypatch.setattr(loop, "step", breaks)
        result = cli(*MLP)
        assert (result.status, result.err) == (130, "error: interrupted\n")
        assert result.read("summary.json")["status"] == "interrupted"

    def test_a_signal_ends_a_sweep(self, cli: Any, monkeypatch: Any, interruptible: None):
        make = loop.step

        def signalled(parts: Any) -> None:
            if parts.state.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
            make(parts)

        monkeypatch.setattr(loop, "step", signalled)
        result = cli("-m", *MLP, "seed=0,1")
        assert result.status == 130
        (job,) = result.jobs
        assert (job / "checkpoints/step_6").is_dir()
        assert "0 of 2 jobs are finished; 1 interrupted, 1 not begun" in result.out
        assert "interrupted" in (result.folder / "leaderboard.md").read_text()

    def test_pictures_are_drawn_where_they_were_not(self, cli: Any, monkeypatch: Any):
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        draw = Curves.end
        monkeypatch.setattr(Curves, "end", interrupted)
        folder = cli(*MLP, "pictures=true").folder
        monkeypatch.setattr(Curves, "end", draw)
        assert not (folder / "curves.png").exists()
        again = cli(f"resume={folder}")
        assert "the run goes on from step_8" in again.out
        assert (folder / "curves.png").exists()
        assert (folder / "worst.png").exists()

    def test_a_finished_run_stays_as_it_is(self, cli: Any):
        first = cli(*MLP)
        before = left(first.folder)
        again = cli(f"resume={first.folder}")
        assert again.status == 0, again.err
        assert "note: the run is finished: nothing is left to do" in again.out
        assert left(first.folder) == before

    def test_is_refused_beside_other_words(self, cli: Any):
        folder = cli(*MLP).folder
        assert cli(f"resume={folder}", "seed=1").line.startswith(
            "error: `resume` must be alone beside `trust`, since a run goes on as it was set, got"
        )

    def test_is_refused_while_the_run_is_at_work(self, cli: Any):
        folder = cli(*MLP).folder
        RunFolder(folder).write_summary(replace(RunFolder(folder).summary(), status="running"))
        with claimed(folder):
            assert f"`{folder}`: a run is at work in it" in cli(f"resume={folder}").line

    def test_is_refused_where_no_run_began(self, cli: Any, tmp_path: Path):
        line = cli(f"resume={tmp_path}").line
        assert "`resume` must be the folder of a run, which holds a `config.yaml`, got" in line

    @pytest.mark.parametrize("word", ["resume", "rerun"])
    def test_is_refused_where_the_command_was(self, cli: Any, word: str):
        refused = cli("trainer.target=97").folder
        assert cli(f"{word}={refused}").line == (
            f"error: `{word}` must be the folder of a run that began; this one failed before it "
            f"did, got '{refused}'; its `summary.json` says why"
        )

    @pytest.mark.parametrize("resolver", ["oc.create", "oc.decode"])
    def test_interpolations_are_refused(self, cli: Any, resolver: str):
        folder = cli(*MLP).folder
        config = folder / "config.yaml"
        hidden = f"schedule: ${{{resolver}:{{_target_:torch.hub.load}}}}\n"
        config.write_text(config.read_text().replace("schedule:\n", f"{hidden}other:\n"))
        for word in ("resume", "rerun"):
            assert (
                "must hold values alone, and it has an interpolation"
                in cli(f"{word}={folder}").line
            )

    def test_is_refused_where_nothing_was_kept(self, cli: Any, monkeypatch: Any):
        mend = cut(monkeypatch, 5)
        folder = cli(*MLP, "trainer.checkpoint_every=null").folder
        mend()
        before = (folder / "metrics.jsonl").read_text()
        line = cli(f"resume={folder}").line
        assert "`resume` must be a run that saves checkpoints: not a toy, not under fsdp" in line
        assert (folder / "metrics.jsonl").read_text() == before

    def test_with_another_number_of_processes(self, cli: Any, monkeypatch: Any):
        mend = cut(monkeypatch, 5)
        folder = cli(*MLP).folder
        mend()
        monkeypatch.setattr(checkpoint, "ranks", lambda: 2)
        assert (
            "`resume` must be with as many processes as before, 1, got 2"
            in cli(f"resume={folder}").line
        )

    def test_foreign_targets_are_refused_before_they_are_imported(self, cli: Any):
        folder = cli(*MLP).folder
        config = folder / "config.yaml"
        config.write_text(
            config.read_text().replace("experiments.models.mlp.mlp", "torch.hub.load")
        )
        assert "names `torch.hub.load`, which is neither ours nor" in cli(f"resume={folder}").line


class Remembers:
    """An observer of a user's own, whose state is saved."""

    seen: list[int]

    def start(self, run: Any) -> None:
        Remembers.seen = []

    def on(self, event: Any) -> None:
        self.seen.append(event.step)

    def end(self, summary: Any) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        Remembers.seen = state["seen"]


def test_observers_go_on(goes_on: Any):
    target = f"{Remembers.__module__}.{Remembers.__qualname__}"
    goes_on(*MLP, f"+observers.own._target_={target}")
    assert [*dict.fromkeys(Remembers.seen)] == [*range(9)]
    assert len(Remembers.seen) == 8 + 5


class Odd(Remembers):
    """Its state is none that a checkpoint may hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": np.float64(1)}


def test_an_odd_state_is_reported_and_not_saved(cli: Any, monkeypatch: Any):
    mend = cut(monkeypatch, 5)
    run = cli(*MLP, f"+observers.odd._target_={__name__}.Odd")
    mend()
    assert "the observer `odd` failed and hears no more: UnpicklingError" in run.err
    assert cli(f"resume={run.folder}", f"trust={__name__}").status == 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("task", ["digits", "fashion_mnist"])
@pytest.mark.parametrize("optim", ["optim/inner=adamw", "optim=muon", RANDOM])
def test_ten_kills(tmp_path: Path, task: str, optim: str):
    """Kill a run ten times, wherever it is; it ends as one that was left alone."""
    if task == "fashion_mnist" and not FASHION.is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    short = ("trainer.steps=200", "trainer.eval_every=40", "trainer.checkpoint_every=4")
    small = ("trainer.batch_size=32", "model.width=4", "data.valid=0.1", "pictures=false")
    command = [f"task={task}", optim, *short, *small]
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert launched([*command, f"hydra.run.dir={whole}"]).wait() == 0
    took, drawn, kills = time.monotonic() - began, random.Random(f"{task} {optim}"), 0
    for attempt in range(KILLS):  # a run that is killed until it ends; another, if that is too soon
        parted = tmp_path / f"parted{attempt}"
        status = -signal.SIGKILL
        while status == -signal.SIGKILL:
            goes_on = (parted / "config.yaml").exists()
            where = f"hydra.run.dir={parted}"
            process = launched([f"resume={parted}"] if goes_on else [*command, where])
            if kills < KILLS:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(drawn.uniform(0, took))
                process.send_signal(signal.SIGKILL)
            status = process.wait()
            kills += status == -signal.SIGKILL
        assert status == 0
        expected, found = left(whole), left(parted)
        assert {k: found.get(k) for k in expected} == expected
        assert found.keys() == expected.keys()
        if kills == KILLS:
            return


def launched(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
