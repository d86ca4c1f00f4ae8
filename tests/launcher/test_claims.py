"""A folder is held by one process at a time, and free when that is over, however it ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.results.claim import PREFIX, SILENCE, Taken, claimed, holder
from experiments.results.folder import Busy, RunFolder, read_metrics
from experiments.results.owner import this_process
from experiments.results.summary import Summary

ROOT = Path(__file__).parents[2]
HOLDS = """
import sys
from pathlib import Path
from experiments.results.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKES_TURNS = """
import os, sys
from pathlib import Path
from experiments.results.claim import Taken, claimed
folder, turns = Path(sys.argv[1]), int(sys.argv[2])
while turns:
    try:
        with claimed(folder):
            alone = os.open(folder / "alone", os.O_CREAT | os.O_EXCL)
            os.close(alone)
            os.unlink(folder / "alone")
            turns -= 1
    except Taken:
        os.sched_yield()
"""


def process(program: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def claim_of(folder: Path, **changed: Any) -> Path:
    """A claim of another process."""
    path = folder / f"{PREFIX}0"
    path.write_text(json.dumps(this_process()._asdict() | changed) + "\n")
    return path


def long_ago(path: Path) -> None:
    then = path.stat().st_mtime - SILENCE - 10
    os.utime(path, (then, then))


def test_it_is_held_for_the_block(tmp_path: Path):
    assert holder(tmp_path) == ""
    for _ in range(2):
        with claimed(tmp_path):
            assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
            with pytest.raises(Taken, match=f"process {os.getpid()} on "), claimed(tmp_path):
                pass
        assert holder(tmp_path) == ""


def test_processes_take_turns(tmp_path: Path):
    running = [process(TAKES_TURNS, tmp_path, 20) for _ in range(4)]
    assert [one.communicate()[1] for one in running] == [""] * 4
    assert len([*tmp_path.glob(f"{PREFIX}*")]) == 80


def test_what_was_killed_holds_no_longer(tmp_path: Path):
    owner = process(HOLDS, tmp_path)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(Taken, match=f"process {owner.pid} on "), claimed(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # which leaves a zombie
    with claimed(tmp_path):
        assert f"process {os.getpid()} " in holder(tmp_path)
    owner.communicate()


def test_another_process_of_the_same_number(tmp_path: Path):
    claim_of(tmp_path, began="1")
    assert holder(tmp_path) == ""


def test_one_of_another_machine_holds_it_until_it_is_silent(tmp_path: Path):
    path = claim_of(tmp_path, machine="another", host="far", job="17", pid=2**22 + 1)
    said = f"process {2**22 + 1} on far, job 17"
    with pytest.raises(Taken, match=said), claimed(tmp_path):
        pass
    long_ago(path)
    with claimed(tmp_path):
        pass
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize("text", ["", '{"machine": "a', '{"other": 1}\n'])
def test_one_that_is_half_written(tmp_path: Path, text: str):
    path = tmp_path / f"{PREFIX}0"
    path.write_text(text)
    with pytest.raises(Taken, match="a process that has not said its name"), claimed(tmp_path):
        pass
    long_ago(path)
    assert holder(tmp_path) == ""


def test_an_owner_that_was_frozen_notices(tmp_path: Path):
    """It was silent for so long that another process took over: it may write no more."""
    frozen = RunFolder(tmp_path)
    with frozen.held():
        frozen.append_metrics({"step": 0})
        long_ago(claim_of(tmp_path, machine="another"))
        with RunFolder(tmp_path).held():
            refused = pytest.raises(Busy, match=f"a run is at work in it, process {os.getpid()}")
            with refused:
                frozen.append_metrics({"step": 1})
            with pytest.raises(Busy, match="a run is at work in it"):
                frozen.write_summary(Summary("finished"))
    assert [line["step"] for line in read_metrics(tmp_path)] == [0]


def test_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.results.claim.BEAT", 0.001)
    with claimed(tmp_path):
        path = tmp_path / f"{PREFIX}0"
        long_ago(path)
        then = path.stat().st_mtime
        while path.stat().st_mtime == then:
            os.sched_yield()
    assert not any(name.startswith(".now.") for name in os.listdir(tmp_path))
