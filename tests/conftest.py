"""What the tests share: settings of Hypothesis, a clean Hydra, the command line."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import hydra.utils
import hypothesis
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

hypothesis.settings.register_profile("xformopt", deadline=None, derandomize=True)
hypothesis.settings.load_profile("xformopt")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT act here and in children where it is ignored, as in a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def clean_hydra() -> Iterator[None]:
    """Let a test use Hydra in this process, as if it were the first."""
    GlobalHydra.instance().clear()
    with trusting():
        yield
    GlobalHydra.instance().clear()


def trusting() -> AbstractContextManager[Any]:
    """Let Hydra 1.4 instantiate what a test names; 1.3 asks nothing."""
    allow: Any = getattr(hydra.utils, "execution_whitelist", nullcontext)
    return allow(getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None))


class Result(NamedTuple):
    status: int
    out: str
    err: str
    folder: Path

    @property
    def line(self) -> str:
        """The one line that says what went wrong."""
        (line,) = self.err.splitlines()
        return line

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @property
    def jobs(self) -> list[Path]:
        """The folders of the jobs of a sweep that began, in order of their starts."""
        found = [path.parent for path in self.folder.glob("*/*/config.yaml")]
        return sorted(found, key=lambda path: (path / "config.yaml").stat().st_mtime_ns)

    @property
    def summaries(self) -> list[dict[str, Any]]:
        return [json.loads((job / "summary.json").read_text()) for job in self.jobs]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: Any, capsys: Any, clean_hydra: None):
    """Run the launcher in this process, in an empty folder; pictures and reports are asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    count = iter(range(100))

    def run(*overrides: str, folder: Path | None = None) -> Result:
        from experiments.__main__ import main

        GlobalHydra.instance().clear()
        folder = folder or tmp_path / f"run{next(count)}"
        given = {override.partition("=")[0] for override in overrides}
        dirs = [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
        quick = [] if given & {"pictures", "rerun"} else ["pictures=false"]
        silent = ["report=false"] if "-m" in given and "report" not in given else []
        added = [] if "resume" in given else [*dirs, *quick, *silent]
        monkeypatch.setattr(sys, "argv", ["experiments", *overrides, *added])
        try:
            status = main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Result(status, out, err, folder)

    return run
