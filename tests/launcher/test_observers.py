"""Observers hear what happens, and cannot fail a run; weights and pictures are theirs."""

import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from experiments.models.points import Points
from experiments.observers.contract import Evaluated, Observer, Run, Stepped
from experiments.observers.curves import Curves
from experiments.observers.files import Files
from experiments.observers.trajectories import DRAWN, SMOOTH, SNAPSHOTS, Trajectories
from experiments.results.folder import RunFolder
from experiments.results.metric import Metric
from experiments.results.summary import Summary
from experiments.run.listening import Listening
from experiments.run.world import set_up

SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]
DIGITS = ["trainer.epochs=4"]


class Fails(Observer):
    """Fails at one of its three calls."""

    def __init__(self, at: str) -> None:
        self.at = at

    def fail(self, where: str) -> None:
        if where == self.at:
            raise OSError("no disk")

    def start(self, run: Run) -> None:
        self.fail("start")

    def on(self, event: Any) -> None:
        self.fail("on")

    def end(self, summary: Summary) -> None:
        self.fail("end")


class Draws(Observer):
    """Draws from each generator that others may draw from."""

    def on(self, event: Any) -> None:
        for draw in (torch.rand, numpy.random.rand, numpy.random.seed, random.seed):
            draw(3)


def test_what_one_draws_leaves_no_trace(tmp_path: Path):
    def drawn(**observers: Observer) -> list[float]:
        set_up("cpu", 1, seed=3)
        listening = Listening(Files(RunFolder(tmp_path)), observers, tmp_path)
        found = []
        for step in range(3):
            listening.on(Stepped(step))
            found += [random.random(), numpy.random.rand(), float(torch.rand(()))]
        return found

    assert drawn() == drawn(draws=Draws())


@pytest.mark.parametrize("at", ["start", "on", "end"])
def test_one_that_fails_is_reported_once_and_fails_no_run(cli: Any, at: str):
    mine = f"+observers.mine={{_target_:{__name__}.Fails,at:{at}}}"
    result = cli(*SHORT, mine, "pictures=true")
    assert result.status == 0
    saved = result.folder / "mine_traceback.txt"
    said = "warning: the observer `mine` failed and hears no more: OSError: no disk"
    assert result.err == f"{said}; see {saved}\n"
    assert "in " + at in saved.read_text()
    assert result.read("summary.json")["status"] == "finished"
    assert (result.folder / "curves.png").exists()


def test_a_picture_that_fails(cli: Any, monkeypatch: Any):
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr("experiments.observers.curves.grid", fail)
    result = cli(*SHORT, "pictures=true")
    assert result.status == 0
    assert "the observer `curves` failed and hears no more: MemoryError: no room" in result.err
    assert result.read("summary.json")["status"] == "finished"
    assert (result.folder / "trajectories.png").exists()


class TestWeights:
    @pytest.mark.parametrize(
        ("kept", "files"),
        [("none", set()), ("last", {"last"}), ("best", {"best"}), ("both", {"best", "last"})],
    )
    def test_which_are_kept(self, cli: Any, kept: str, files: set[str]):
        result = cli(*SHORT, f"trainer.checkpoint={kept}")
        assert {path.stem for path in result.folder.glob("*.safetensors")} == files

    def test_who_may_read_the_config_may_read_them(self, cli: Any):
        folder = cli(*SHORT, "trainer.checkpoint=last").folder
        modes = [(folder / n).stat().st_mode for n in ("last.safetensors", "config.yaml")]
        assert modes[0] == modes[1]

    def test_best_are_those_of_the_best_evaluation(self, cli: Any):
        result = cli(*DIGITS, "trainer.eval_every=7", "optim.inner.lr=0.02")
        best = result.read("summary.json")["best"]
        again = cli(f"rerun={result.folder}", f"trainer.steps={int(best['step'])}")
        weights = load_file(result.folder / "best.safetensors")
        expected = load_file(again.folder / "last.safetensors")
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in weights)
        final = again.read("summary.json")["final"]
        assert all(best[name] == final[name] for name in best if name != "loss")

    def test_the_last_of_a_run_that_diverged(self, cli: Any):
        result = cli("task=beale", "optim.inner.lr=1e20", "trainer.checkpoint=both")
        assert result.status == 1
        assert {path.stem for path in result.folder.glob("*.safetensors")} == {"best", "last"}


class TestTrajectories:
    def run(self, tmp_path: Path, dim: int, starts: int, steps: int) -> Trajectories:
        points = Points(torch.zeros(starts, dim))
        drawn = Trajectories(
            lambda x: x.square().sum(1), torch.zeros(1, dim), (-1.0, 1.0), lambda model: model()
        )
        goal = Metric("loss")
        run = Run(
            name="bowl",
            title="bowl · SGD",
            goal=goal,
            metrics=(goal,),
            begin=0,
            steps=steps,
            batch=0,
            folder=tmp_path,
            model=points,
            models=lambda: (),
            precision=nullcontext,
            rate=lambda: 0.1,
        )
        drawn.start(run)
        drawn.on(Evaluated(0, {}, 0.0, True))
        for step in range(1, steps + 1):
            drawn.on(Stepped(step))
        return drawn

    def test_memory_is_bounded(self, tmp_path: Path):
        drawn = self.run(tmp_path, dim=2, starts=1000, steps=20_000)
        kept = [*drawn.early, *drawn.late]
        assert len(drawn.early) == SMOOTH
        assert SNAPSHOTS // 4 < len(kept) <= SNAPSHOTS
        assert {snapshot.shape for snapshot in kept} == {(DRAWN, 2)}
        drawn.end(Summary("finished"))
        assert (tmp_path / "trajectories.png").read_bytes().startswith(b"\x89PNG")

    def test_nothing_is_kept_that_is_not_drawn(self, tmp_path: Path):
        drawn = self.run(tmp_path, dim=3, starts=10, steps=50)
        drawn.end(Summary("finished"))
        assert not drawn.early
        assert not list(tmp_path.iterdir())


def test_pictures_name_task_model_and_optimizer(cli: Any, monkeypatch: Any):
    titles = []
    monkeypatch.setattr(Curves, "end", lambda self, summary: titles.append(self.run.title))
    cli(*SHORT, "optim=signum", "pictures=true")
    cli("optim=muon", "trainer.steps=1", "pictures=true")
    muon = "AdamW | ema → orthogonalize → weight_decay → SGD"
    assert titles == ["himmelblau · ema → sign → SGD", f"digits · small_cnn · {muon}"]
