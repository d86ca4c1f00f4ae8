"""Workers that run jobs side by side see a GPU each; there need be none here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.run import ranks
from xformopt.refused import Refused

ROOT = Path(__file__).parents[2]
WORKER = """
import os, sys
from pathlib import Path
import torch
from experiments.sweeps import gpus
torch.cuda.device_count = lambda: int(sys.argv[2])
gpus.keep_to_one(Path(sys.argv[1]), launcher=int(sys.argv[3]))
print(os.environ.get("CUDA_VISIBLE_DEVICES", "all"), flush=True)
sys.stdin.read()
"""


def worker(sweep: Path, count: int, visible: str = "", launcher: int = 0) -> subprocess.Popen[str]:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    if not visible:
        del env["CUDA_VISIBLE_DEVICES"]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(sweep), str(count), str(launcher)],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def seen(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline().strip()


@pytest.mark.parametrize(("visible", "own"), [("", {"0", "1", "2"}), ("4,7,5", {"4", "5", "7"})])
def test_each_has_its_own(tmp_path: Path, visible: str, own: set[str]):
    running = [worker(tmp_path, 3, visible) for _ in range(3)]
    taken = [seen(one) for one in running]
    assert {*taken} == own
    running.pop(1).communicate()
    again = worker(tmp_path, 3, visible)
    assert seen(again) == taken[1]
    more = worker(tmp_path, 3, visible)
    assert seen(more) in own  # all are taken: it shares one
    for one in (*running, again, more):
        one.communicate()


def test_one_gpu_is_left_as_it_is(tmp_path: Path):
    one = worker(tmp_path, 1)
    assert seen(one) == "all"
    one.communicate()


@pytest.mark.parametrize(
    ("visible", "count", "rank", "own"),
    [("", 2, 1, 1), ("0,1", 2, 1, 1), ("1", 1, 1, 0), ("", 1, 1, None), ("0,1", 2, 2, None)],
)
def test_each_rank_has_its_own(
    monkeypatch: pytest.MonkeyPatch, visible: str, count: int, rank: int, own: int | None
):
    """One alone that is visible is that of the task, as where Slurm gives each its own."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(ranks, "ranks", lambda: 3)
    if own is None:
        with pytest.raises(Refused, match="`device` must be a GPU for each process of a machine"):
            ranks.local_device("cuda")
    else:
        assert ranks.local_device("cuda") == torch.device("cuda", own)
