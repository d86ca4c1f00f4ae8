"""A sweep is done once: what is finished is not run again, however it began and ended."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.cli import session
from experiments.results.claim import PREFIX, claimed
from experiments.results.folder import read_metrics, status_in
from experiments.run import loop

ROOT = Path(__file__).parents[2]
TOY = ("-m", "task=himmelblau", "trainer.steps=5", "task.starts=2")
DIGITS = ("-m", "task=digits", "model=mlp", "trainer.epochs=null")
AGAIN = "sweep.resume=true"


def inodes(folder: Path) -> dict[Path, int]:
    """Which files of results there are: one that is written anew is another file."""
    return {path: path.stat().st_ino for path in folder.glob("*/*/summary.json")}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


@pytest.fixture
def breaks(monkeypatch: Any) -> set[int]:
    """Let a job fail at the steps that are in the set."""
    make, at = loop.step, set[int]()

    def step(parts: Any) -> None:
        if parts.state.step in at:
            raise RuntimeError("it broke")
        make(parts)

    monkeypatch.setattr(loop, "step", step)
    return at


class TestResume:
    def test_what_is_finished_is_not_run_again(self, cli: Any):
        first = cli(*TOY, "seed=0,1")
        before, table = inodes(first.folder), rows(first.folder)
        again = cli(*TOY, "seed=0,1", AGAIN, folder=first.folder)
        assert again.status == 0, again.err
        assert "2 of 2 jobs are finished already" in again.out
        assert inodes(first.folder) == before
        assert rows(first.folder) == table
        assert "step 0/5" not in again.out

    def test_in_another_order(self, cli: Any):
        first = cli(*TOY, "optim/inner=sgd,adam")
        before = inodes(first.folder)
        again = cli("-m", "optim/inner=adam,sgd", *TOY[:0:-1], AGAIN, folder=first.folder)
        assert again.status == 0, again.err
        assert inodes(first.folder) == before
        assert len(rows(first.folder)) == 2

    def test_what_is_said_otherwise_is_the_same(self, cli: Any):
        """A default that is written out is no other job."""
        first = cli(*TOY, "seed=0")
        before = inodes(first.folder)
        again = cli(*TOY, "optim.lr_scale=1.0,1", "seed=0", AGAIN, folder=first.folder)
        assert again.status == 0, again.err
        assert inodes(first.folder) == before

    def test_wider_and_narrower(self, cli: Any):
        first = cli(*TOY, "optim/inner=adam", "seed=0,1")
        before = inodes(first.folder)
        wider = cli(*TOY, "seed=0,1,2", "optim/inner=adam,sgd", AGAIN, folder=first.folder)
        assert wider.status == 0, wider.err
        assert before.items() <= inodes(first.folder).items()
        assert [row["seeds"] for row in rows(first.folder)] == ["3/3", "3/3"]
        narrower = cli(*TOY, "optim/inner=sgd", "seed=2", AGAIN, folder=first.folder)
        assert narrower.status == 0
        assert len(rows(first.folder)) == 2

    def test_a_folder_with_runs_is_refused_without(self, cli: Any):
        first = cli(*TOY, "seed=0")
        before = inodes(first.folder)
        again = cli(*TOY, "seed=0,1", folder=first.folder)
        assert again.status == 2
        assert "holds runs already: `sweep.resume=true` goes on with what is not" in again.line
        assert inodes(first.folder) == before

    def test_a_folder_above(self, cli: Any, tmp_path: Path, monkeypatch: Any):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        result = cli(*TOY, "seed=0,1", folder="../there")
        assert result.status == 0, result.err
        assert [row["seeds"] for row in rows(tmp_path / "there")] == ["2/2"]

    def test_without_its_folder(self, capsys: Any):
        from experiments.cli.launch import launch

        assert launch([*TOY, AGAIN]) == 2
        said = "`sweep.resume` must be beside the folder, got True; `hydra.sweep.dir=DIR`"
        assert said in capsys.readouterr().err

    def test_how_often_checkpoints_are_saved_is_no_other_job(self, cli: Any):
        words = (*DIGITS, "trainer.steps=2", "seed=0")
        first = cli(*words)
        before = inodes(first.folder)
        again = cli(*words, "trainer.checkpoint_every=1", AGAIN, folder=first.folder)
        assert again.status == 0, again.err
        assert "step 0/2" not in again.out
        assert inodes(first.folder) == before

    def test_from_its_checkpoint(self, cli: Any, breaks: set[int]):
        whole = cli(*DIGITS, "trainer.steps=8", "seed=0,1")
        breaks |= {6}
        saved = "trainer.checkpoint_every=2"
        cut = cli(*DIGITS, "trainer.steps=8", saved, "seed=0,1")
        assert cut.status == 1
        assert "0 of 2 jobs are finished; 2 failed" in cut.out
        breaks.clear()
        resumed = cli(*DIGITS, "trainer.steps=8", saved, "seed=0,1", AGAIN, folder=cut.folder)
        assert resumed.status == 0, resumed.err
        assert "the run goes on from step_6" in resumed.out
        for one, other in zip(whole.summaries, resumed.summaries, strict=True):
            assert one["final"] == other["final"]

    def test_a_failed_one_begins_anew_without_a_checkpoint(self, cli: Any, breaks: set[int]):
        breaks |= {3}
        failed = cli(*TOY, "seed=0")
        breaks.clear()
        again = cli(*TOY, "seed=0", AGAIN, folder=failed.folder)
        assert again.status == 0, again.err
        steps = [line["step"] for line in read_metrics(again.jobs[0])]
        assert steps == [0, 1, 2, 3, 4, 5]

    def test_results_of_other_configs_are_refused(self, cli: Any):
        first = cli(*TOY, "seed=0")
        summary, config = (first.jobs[0] / name for name in ("summary.json", "config.yaml"))
        held = {**first.summaries[0], "schema": "older", "identity": "another"}
        summary.write_text(json.dumps(held))
        saved = OmegaConf.load(config)
        saved.trainer.eval_every = 7
        OmegaConf.save(saved, config)
        again = cli(*TOY, "seed=0,1", AGAIN, folder=first.folder)
        assert again.status == 2
        said = "was made by another version of the configs: `trainer.eval_every` was 7 and is null"
        assert said in again.line
        assert len(again.jobs) == 1

    def test_other_configs_that_give_the_same_job(self, cli: Any):
        first = cli(*TOY, "seed=0")
        summary = first.jobs[0] / "summary.json"
        summary.write_text(json.dumps({**first.summaries[0], "schema": "older"}))
        before = inodes(first.folder)
        assert cli(*TOY, "seed=0", AGAIN, folder=first.folder).status == 0
        assert inodes(first.folder) == before

    def test_a_folder_of_another_job(self, cli: Any):
        result = cli(*TOY, "seed=0,1", "hydra.sweep.subdir=job")
        assert result.status == 1
        assert "holds another job: `hydra.sweep.subdir` must tell jobs apart" in result.err

    def test_a_failed_one_of_other_configs_is_no_hindrance(self, cli: Any):
        failed = cli(*TOY, "trainer.eval_every=-1", "seed=0")
        assert failed.status == 1
        (summary,) = failed.folder.glob("*/*/summary.json")
        held = json.loads(summary.read_text())
        overrides = [one for one in held["overrides"] if "eval_every" not in one]
        held |= {"overrides": overrides, "schema": "older"}
        summary.write_text(json.dumps(held))
        again = cli(*TOY, "seed=0", AGAIN, folder=failed.folder)
        assert again.status == 0, again.err

    @pytest.mark.parametrize("key", ["device=cpu,auto", "pictures=true,false"])
    def test_what_tells_no_jobs_apart(self, cli: Any, key: str):
        result = cli(*TOY, key)
        assert result.status == 2
        assert "a sweep over it makes the same job again" in result.line


class TestFailure:
    def test_the_others_go_on(self, cli: Any):
        result = cli(*TOY, "optim/inner=sparseadam,sgd")
        assert (result.status, len(result.jobs)) == (1, 2)

    def test_or_stop(self, cli: Any):
        result = cli(*TOY, "optim/inner=sgd,sparseadam,adam", "sweep.on_error=stop")
        assert (result.status, len(result.jobs)) == (1, 2)
        assert "1 of 3 jobs is finished; 1 failed, 1 not begun" in result.out
        assert not [*result.folder.glob(".stopped*")]

    def test_before_it_begins(self, cli: Any, monkeypatch: Any):
        """As where its processes do not find one another."""

        def alone(folder: Path) -> nullcontext[Path]:
            if folder.name == "1":
                raise ValueError("no others came")
            return nullcontext(folder)

        monkeypatch.setattr(session, "shared_out", alone)
        result = cli(*TOY, "seed=0,1")
        assert result.status == 1
        assert "ValueError: no others came" in result.err
        assert "1 of 2 jobs is finished; 1 not begun" in result.out
        assert [row["seeds"] for row in rows(result.folder)] == ["1/2"]

    def test_a_later_one_that_is_wrong_is_seen_before_any_runs(self, cli: Any):
        result = cli(*TOY, "optim.lr_scale=1,2", "optim/inner=sgd,nonsense")
        assert result.status == 2
        assert not [*result.folder.glob("*/*")]

    def test_tried_again(self, cli: Any, monkeypatch: Any):
        make, failures = loop.step, iter([True, True])

        def step(parts: Any) -> None:
            if parts.state.step == 3 and next(failures, False):
                raise RuntimeError("it broke")
            make(parts)

        monkeypatch.setattr(loop, "step", step)
        result = cli(*TOY, "seed=0", "sweep.retries=2")
        assert result.status == 0, result.err
        assert result.summaries[0]["status"] == "finished"
        assert (result.jobs[0] / "traceback.txt").exists()

    def test_what_fails_alike_is_not(self, cli: Any):
        diverges = ("optim/inner=sgd", "optim.inner.lr=1e30", "optim/transforms=[]")
        result = cli(*TOY, *diverges, "sweep.retries=2")
        assert "diverged" in result.summaries[0]["error"]
        assert "it is tried again" not in result.out

    def test_a_wrong_setting_is_not(self, cli: Any, monkeypatch: Any):
        result = cli(*TOY, "trainer.eval_every=-1", "sweep.retries=2")
        assert result.status == 1
        assert result.err.count("error: job 0") == 1

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["-m", "sweep.resum=true"], "`sweep.resum`: nothing reads this key; did you mean `re"),
            (["-m", "sweep.resume=1"], "`sweep.resume` must be true or false, got 1"),
            (
                ["-m", "sweep.on_error=go"],
                "`sweep.on_error` must be one of continue, stop, got 'go'",
            ),
            (["-m", "sweep.retries=-1"], "`sweep.retries` must be an int >= 0, got -1"),
            (
                ["-m", "optim.lr_scale=interval(1,2)"],
                "`optim.lr_scale` must be a value: `sweep.trials=N`",
            ),
            (["sweep.resume=true"], "`sweep.resume=true`: nothing reads it without `-m`"),
        ],
    )
    def test_bad_words(self, cli: Any, words: list[str], said: str):
        result = cli(*words, *TOY[1:])
        assert result.status == 2
        assert said in result.line


DIES = """
import os, signal
from pathlib import Path
from experiments import register
from experiments.observers.contract import Observer

@register.observer
class dies(Observer):
    def __init__(self, once: str) -> None:
        self.once = Path(once)

    def start(self, run) -> None:
        if not self.once.exists():
            self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def started(folder: Path, *words: str, path: Path = ROOT) -> subprocess.Popen[str]:
    """A launcher in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "experiments",
            *words,
            "pictures=false",
            f"hydra.sweep.dir={folder}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "HYDRA_FULL_ERROR": "0", "PYTHONPATH": str(path)},
    )


class TestProcesses:
    JOBS = (*DIGITS, "trainer.steps=60", "trainer.eval_every=20", "optim/inner=sgd,adam")

    def test_one_that_was_killed_is_seen(self, tmp_path: Path):
        process = started(tmp_path, *TOY, "trainer.steps=1000000", "trainer.eval_every=100")
        while not [*tmp_path.glob("*/*/metrics.jsonl")]:
            time.sleep(0.05)
        (job,) = (path.parent for path in tmp_path.glob("*/*/summary.json"))
        assert status_in(job).status == "running"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert status_in(job).status == "killed"

    def test_two_launchers_share_the_work(self, tmp_path: Path):
        words = (*self.JOBS, "seed=0,1,2", AGAIN)
        pair = [started(tmp_path, *words) for _ in range(2)]
        said = [process.communicate()[0] for process in pair]
        assert [process.returncode for process in pair] == [0, 0], said
        jobs = [*tmp_path.glob("*/*/summary.json")]
        assert len(jobs) == 6
        for job in jobs:
            assert status_in(job.parent).status == "finished"
            steps = [line["step"] for line in read_metrics(job.parent)]
            assert steps == [0, 20, 40, 60]
        assert sum(text.count("step 0/60") for text in said) == 6

    def test_a_job_at_work_elsewhere_is_waited_for(self, tmp_path: Path):
        whole = started(tmp_path / "whole", *self.JOBS, "seed=0")
        assert whole.wait() == 0, whole.communicate()[0]
        (first, _) = sorted((tmp_path / "whole").glob("*/0"))
        held = tmp_path / "shared" / first.relative_to(tmp_path / "whole")
        held.mkdir(parents=True)
        with claimed(held):
            process = started(tmp_path / "shared", *self.JOBS, "seed=0", AGAIN)
            assert process.stdout is not None
            while "waiting for 1 jobs at work elsewhere" not in process.stdout.readline():
                assert process.poll() is None
        assert process.wait() == 0
        assert rows(tmp_path / "shared") == rows(tmp_path / "whole")
        process.communicate()
        whole.communicate()

    def test_a_worker_that_dies_takes_others_with_it_once(self, tmp_path: Path):
        """joblib gives up when a worker is killed; it is asked again, and all are finished."""
        dies = tmp_path / "dying.py"
        dies.write_text(DIES)
        process = started(
            tmp_path / "sweep",
            *self.JOBS,
            "seed=0",
            f"trust=[{dies.stem}]",
            "observers=[dies]",
            f"observers.dies.once={tmp_path / 'died'}",
            "hydra/launcher=joblib",
            "sweep.retries=1",
            path=tmp_path,
        )
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert "note: the launcher is asked again, after A worker process managed by" in said
        assert [row["seeds"] for row in rows(tmp_path / "sweep")] == ["1/1", "1/1"]

    @pytest.mark.usefixtures("interruptible")
    def test_workers_save_what_they_have_at_ctrl_c(self, tmp_path: Path):
        words = (*DIGITS, "trainer.steps=100000", "trainer.eval_every=50", "seed=0,1,2")
        process = started(tmp_path / "sweep", *words, "hydra/launcher=joblib")
        metrics = (tmp_path / "sweep").glob
        while len([*metrics("*/*/metrics.jsonl")]) < 2:
            assert process.poll() is None
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate()
        assert process.returncode == 130, said
        assert "0 of 3 jobs are finished; 2 interrupted, 1 not begun; the same command" in said
        assert len([*metrics("*/*/checkpoints/step_*/state.pt")]) == 2

    @pytest.mark.long
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("launcher", ["basic", "joblib"])
    def test_killed_three_times(self, tmp_path: Path, launcher: str):
        """24 jobs: each is finished once, with the figures of a sweep that was left alone."""
        words = (*self.JOBS, "trainer.steps=150", "trainer.checkpoint_every=10")
        words = (*words, "seed=range(12)", f"hydra/launcher={launcher}", AGAIN)
        alone = started(tmp_path / "alone", *words)
        assert alone.wait() == 0, alone.communicate()[0]
        alone.communicate()
        draw = random.Random(0)
        for _ in range(3):
            process = started(tmp_path / "killed", *words)
            time.sleep(draw.uniform(6.0, 14.0))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        last = started(tmp_path / "killed", *words)
        said, _ = last.communicate()
        assert last.returncode == 0, said
        assert rows(tmp_path / "killed") == rows(tmp_path / "alone")
        for job in (tmp_path / "killed").glob("*/*/metrics.jsonl"):
            steps = [line["step"] for line in read_metrics(job.parent)]
            assert steps == [*range(0, 141, 20), 150]
        assert len([*(tmp_path / "killed").glob(f"*/*/{PREFIX}0")]) == 24
