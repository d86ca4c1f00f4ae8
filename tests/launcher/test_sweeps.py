"""Sweeps and their leaderboards."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.results.leaderboard import Standing, as_markdown

ROOT = Path(__file__).parents[2]
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


def test_leaderboard(cli: Any):
    inners, seeds = "optim/inner=sgd,adam,sparseadam", "seed=0,1"
    result = cli("-m", *SHORT, inners, seeds, "optim.param_ndim=0,1")
    assert result.status == 1
    with (result.folder / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    means = [float(row["mean"]) for row in rows if row["mean"]]
    assert len(means) == 4
    assert means == sorted(means)
    for row in rows[:4]:
        set_here = {f"{key}={row[key]}" for key in ("optim/inner", "optim.param_ndim")}
        jobs = [job for job in result.summaries if set_here <= set(job["overrides"])]
        distances = [job["final"]["distance"] for job in jobs]
        assert float(row["mean"]) == pytest.approx(sum(distances) / 2)
        assert float(row["sd"]) == pytest.approx(abs(distances[0] - distances[1]) / 2**0.5)
        assert row["seeds"] == "2/2"
    for row in rows[4:]:
        assert row["optim/inner"] == "sparseadam"
        assert row["seeds"] == "0/2"
        assert "SparseAdam does not support dense gradients" in row["error"]
    markdown = (result.folder / "leaderboard.md").read_text()
    assert markdown in result.out
    assert markdown.startswith(
        "All with `task=himmelblau`, `trainer.steps=20`, `task.starts=4`, `pictures=False`, "
        "metric distance:\n\n| optim/inner | optim.param_ndim | seeds | mean ± sd"
    )
    assert len({len(line) for line in markdown.splitlines()[2:]}) == 1
    assert "error: job 10 (task=himmelblau trainer.steps=20 task.starts=4" in result.err
    said = "RuntimeError: SparseAdam does not support dense gradients, please consider Adam instead"
    assert f"| optim/inner=sparseadam seed=1 optim.param_ndim=1 | failed | {said} |" in " ".join(
        result.out.split()
    )
    assert (
        "8 of 12 jobs are finished; 4 failed; the same command with `sweep.resume=true`"
        in result.out
    )


def test_what_stands_above_is_true_of_all_rows():
    def row(task: str, metric: str, **config: str) -> Standing:
        figures = dict.fromkeys(("mean", "sd", "best", "test", "test_sd", "seconds"), 0.5)
        held = figures if metric else dict.fromkeys(figures)
        return Standing(
            task, config, metric, "max", **held, seeds="1/1", error="" if metric else "x"
        )

    above = "All with `lr=1`"
    mixed = [row("digits", "valid_accuracy", lr="1"), row("beale", "", lr="1")]
    assert as_markdown(mixed).startswith(f"{above}, seeds 1/1:\n\n| metric ")
    alike = [row("digits", "valid_accuracy", lr="1"), row("digits", "", lr="1")]
    assert as_markdown(alike).startswith(f"{above}, metric valid_accuracy, seeds 1/1:")
    failed = [row("digits", "", lr="1"), row("digits", "", lr="1")]
    assert as_markdown(failed).startswith(f"{above}, seeds 1/1:\n\n| error |")
    lacking = [row("digits", "accuracy", **{"data.test": ""}), row("digits", "accuracy")]
    assert as_markdown(lacking).startswith("All with metric accuracy")


def test_a_seed_counts_once(cli: Any):
    result = cli("-m", *SHORT, "++seed=1,1")
    with (result.folder / "leaderboard.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["seeds"] == "1/1"


def test_tasks_are_ranked_apart(cli: Any):
    result = cli("-m", "task=beale,himmelblau", "trainer.steps=3", "optim/inner=sgd,adam")
    with (result.folder / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == ["beale"] * 2 + ["himmelblau"] * 2


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_keeps_its_leaderboard(tmp_path: Path, way: signal.Signals):
    command = [sys.executable, "-m", "experiments", "-m", "task=himmelblau", "seed=0,1"]
    options = ["trainer.steps=100000,1000000", f"hydra.sweep.dir={tmp_path}"]
    process = subprocess.Popen(
        [*command, *options, "trainer.eval_every=50"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while process.poll() is None and not any(
        file.stat().st_size for file in tmp_path.glob("*/0/metrics.jsonl")
    ):
        time.sleep(0.05)
    process.send_signal(way)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.endswith(b"error: interrupted\n")
    assert "interrupted" in (tmp_path / "leaderboard.md").read_text()


def test_status_is_zero_where_all_went_well(cli: Any):
    assert cli("-m", *SHORT, "seed=0,1").status == 0


def test_a_sweep_whose_jobs_cannot_write_fails(cli: Any, tmp_path: Path):
    (tmp_path / "sweep/job/config.yaml").mkdir(parents=True)
    result = cli("-m", *SHORT, "hydra.sweep.subdir=job", folder=tmp_path / "sweep")
    assert result.status == 1
    assert "error: job 0" in result.err
    assert "0 of 1 jobs are finished; 1 failed" in result.out


def test_names_may_be_quoted(cli: Any):
    result = cli("-m", *SHORT[1:], "task='himmelblau','beale'")
    assert result.status == 0
    assert len(result.jobs) == 2


def test_the_flag_may_stand_anywhere(cli: Any):
    result = cli(*SHORT[:2], "-m", SHORT[2], "seed=0,1")
    assert result.status == 0
    assert len(result.jobs) == 2


def test_an_empty_value_below_a_swept_group(cli: Any):
    result = cli("-m", *SHORT, "optim/inner=sgd,adam", "+optim.inner.foo=")
    assert result.status != 0
    assert "choice" not in result.err


def test_keys_below_a_swept_group_are_set_in_each_job(cli: Any):
    result = cli("-m", "task=himmelblau,beale", "trainer.steps=2", "task.starts=3")
    assert result.status == 0
    assert [OmegaConf.load(job / "config.yaml").task.starts for job in result.jobs] == [3, 3]
