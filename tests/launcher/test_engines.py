"""The same sweep on joblib, Slurm and Ray gives the same leaderboard, and survives kills there.

Run with `pytest -m long tests/launcher/test_engines.py`; Slurm is that of Debian's packages munge,
slurmctld, slurmd and slurm-client, Ray that of the extra `ray`.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.results.claim import claimed
from experiments.results.folder import read_metrics, status_in
from tests.launcher import engines
from tests.launcher.test_resumed_sweeps import AGAIN, DIGITS, rows, started

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
JOBS = (*DIGITS, "trainer.steps=60", "trainer.eval_every=20", "optim/inner=sgd,adam", "seed=0,1")
SLOW = (*DIGITS, "trainer.steps=4000", "trainer.eval_every=500", "seed=0,1")
SAVED = "trainer.checkpoint_every=500"
RANKS = (*JOBS[:-2], "trainer.strategy=ddp", "seed=0")
BREAKING = """
from torch import nn, distributed


class Breaking(nn.Linear):
    def forward(self, input):
        if self.training and distributed.get_rank() == {rank}:
            raise RuntimeError("it breaks")
        return super().forward(input)


def model():
    return nn.Sequential(nn.Flatten(), Breaking(64, 10))
"""
TASKS = "hydra.launcher.tasks_per_node=2"


def finished(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def has_saved(folder: Path, count: int = 1) -> bool:
    return len([*folder.glob("*/*/checkpoints/step_*")]) >= count


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict[str, str]]]:
    """The rows of a sweep of one process that nobody disturbs."""
    held: dict[tuple[str, ...], list[dict[str, str]]] = {}

    def run(*words: str) -> list[dict[str, str]]:
        if words not in held:
            folder = tmp_path_factory.mktemp("alone") / "sweep"
            finished(started(folder, *words))
            held[words] = rows(folder)
        return held[words]

    return run


def test_joblib(tmp_path: Path, alone: Any):
    finished(started(tmp_path / "sweep", *JOBS, "hydra/launcher=joblib"))
    assert rows(tmp_path / "sweep") == alone(*JOBS)


@pytest.fixture(scope="module")
def under_torchrun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What two processes reach that `torchrun` starts for one run."""
    folder = tmp_path_factory.mktemp("torchrun") / "run"
    own = ("pictures=false", f"hydra.run.dir={folder}")
    module = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    subprocess.run([*module, "-m", "experiments", *RANKS[1:], *own], check=True)
    return status_in(folder).final


def check_is_one_run(folder: Path, reached: dict[str, float]) -> None:
    (job,) = (path.parent for path in folder.glob("*/0/summary.json"))
    assert [*job.glob(".claim.*")] == [job / ".claim.0"]
    assert status_in(job).final == reached
    assert [line["step"] for line in read_metrics(job)] == [0, 20, 40, 60]


class TestRanks:
    """Two tasks of submitit for each job."""

    WORDS = (*RANKS, "hydra/launcher=submitit_local", TASKS)

    def test_they_train_one_network(self, tmp_path: Path, under_torchrun: dict[str, float]):
        finished(started(tmp_path / "sweep", *self.WORDS))
        check_is_one_run(tmp_path / "sweep", under_torchrun)

    @pytest.mark.parametrize("rank", [0, 1])
    def test_one_that_fails_ends_all(self, tmp_path: Path, rank: int):
        (tmp_path / "breaking.py").write_text(BREAKING.format(rank=rank))
        words = [word for word in self.WORDS if word not in ("model=mlp", "seed=0")]
        own = ("model._target_=breaking.model", "seed=0,1")
        said, _ = started(tmp_path / "sweep", *words, *own, path=tmp_path).communicate()
        assert "0 of 2 jobs are finished; 2 failed" in said
        logs = [path.read_text() for path in (tmp_path / "sweep/.submitit").rglob("*_log.err")]
        who = "rank 1: " if rank else ""
        assert sum(f"error: {who}job" in log and "it breaks" in log for log in logs) == 2

    def test_a_job_at_work_elsewhere_is_waited_for(self, tmp_path: Path):
        folder = tmp_path / "sweep"
        finished(started(folder, *self.WORDS, "trainer.steps=1"))
        (job,) = (path.parent for path in folder.glob("*/0/summary.json"))
        (job / "summary.json").unlink()
        with claimed(job):
            process = started(folder, *self.WORDS, "trainer.steps=1", AGAIN, "sweep.on_error=stop")
            assert process.stdout
            while "waiting for 1 jobs at work elsewhere" not in (said := process.stdout.readline()):
                assert said
        finished(process)
        assert status_in(job).status == "finished"

    def test_no_retries(self, tmp_path: Path):
        process = started(tmp_path / "sweep", *self.WORDS, "sweep.retries=1")
        said, _ = process.communicate()
        assert process.returncode == 2
        assert "`sweep.retries` must be jobs of one process" in said


class TestSlurm:
    @pytest.fixture
    def there(self, tmp_path: Path, monkeypatch: Any) -> Iterator[tuple[str, ...]]:
        """The words that launch on a Slurm of its own."""
        if lacking := engines.missing():
            pytest.skip(f"Slurm needs {', '.join(lacking)}")
        folder = tmp_path / "slurm"
        folder.mkdir()
        with engines.slurm(folder) as env:
            monkeypatch.setenv("SLURM_CONF", env["SLURM_CONF"])
            own = {"partition": "main", "cpus_per_task": 1, "timeout_min": 10}
            yield (
                "hydra/launcher=submitit_slurm",
                *(f"hydra.launcher.{k}={v}" for k, v in own.items()),
            )

    def test_gives_the_same(self, tmp_path: Path, there: tuple[str, ...], alone: Any):
        finished(started(tmp_path / "sweep", *JOBS, *there))
        assert rows(tmp_path / "sweep") == alone(*JOBS)

    def test_tasks_of_a_job_train_one_network(
        self, tmp_path: Path, there: tuple[str, ...], under_torchrun: dict[str, float]
    ):
        finished(started(tmp_path / "sweep", *RANKS, *there, TASKS))
        check_is_one_run(tmp_path / "sweep", under_torchrun)

    def test_a_job_that_is_cancelled(self, tmp_path: Path, there: tuple[str, ...], alone: Any):
        folder = tmp_path / "sweep"
        process = started(folder, *SLOW, SAVED, *there)
        while not has_saved(folder, 2):
            assert process.poll() is None
            time.sleep(0.2)
        subprocess.run(["scancel", "--signal=KILL", "--full", "-u", "root"], check=True)
        while subprocess.run(["squeue", "-h"], capture_output=True).stdout:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)  # submitit cannot know without an accounting
        process.communicate()
        jobs = [path.parent for path in folder.glob("*/*/summary.json")]
        assert [status_in(job).status for job in jobs] == ["killed"] * 2
        finished(started(folder, *SLOW, SAVED, AGAIN, *there))
        assert rows(folder) == alone(*SLOW, SAVED)

    @pytest.mark.parametrize(
        ("ranks", "steps"), [((), 24_000), ((TASKS, "trainer.strategy=ddp"), 3_000)], ids=["1", "2"]
    )
    def test_a_job_that_runs_out_of_time_goes_on(
        self, tmp_path: Path, there: tuple[str, ...], ranks: tuple[str, ...], steps: int
    ):
        """Slurm ends it, submitit has it queued again, and it goes on from its checkpoint."""
        folder = tmp_path / "sweep"
        words = (*SLOW[:-1], f"trainer.steps={steps}", "seed=0", SAVED, *there, *ranks)
        words = (*words, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=30")
        process = started(folder, *words, "hydra.launcher.max_num_timeout=9")
        said = finished(process)
        (job,) = (path.parent for path in folder.glob("*/0/summary.json"))
        assert status_in(job).status == "finished", said
        assert (job / ".claim.1").exists()
        assert [line["step"] for line in read_metrics(job)] == [*range(0, steps + 1, 500)]


class TestRay:
    @pytest.fixture
    def cluster(self, monkeypatch: Any) -> Iterator[Any]:
        """A cluster of two nodes of one core each."""
        utils = pytest.importorskip("ray.cluster_utils")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
        importlib.import_module("ray").shutdown()
        cluster.shutdown()

    def words(self, cluster: Any) -> tuple[str, ...]:
        init = "hydra.launcher.ray.init"
        memory = f"+{init}.object_store_memory=null"  # the plugin gives one, and Ray refuses it
        return ("hydra/launcher=ray", f"{init}.address='{cluster.address}'", memory)

    def test_gives_the_same(self, tmp_path: Path, cluster: Any, alone: Any):
        finished(started(tmp_path / "sweep", *JOBS, *self.words(cluster)))
        assert rows(tmp_path / "sweep") == alone(*JOBS)

    def test_a_worker_that_is_killed(self, tmp_path: Path, cluster: Any, alone: Any):
        folder = tmp_path / "sweep"
        process = started(folder, *SLOW, SAVED, *self.words(cluster), "sweep.retries=1")
        while not has_saved(folder, 2):
            assert process.poll() is None
            time.sleep(0.2)
        found = subprocess.run(["pgrep", "-f", "ray::_run_job"], capture_output=True, text=True)
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
        said, _ = process.communicate()
        if process.returncode:  # the launcher lost its worker, and said so
            assert "of 2 jobs" in said
            finished(started(folder, *SLOW, SAVED, AGAIN, *self.words(cluster)))
        assert rows(folder) == alone(*SLOW, SAVED)
