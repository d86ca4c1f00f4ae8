"""Programs that are measured in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from experiments.results.environment import ROOT


def python(arguments: list[str], folder: Path) -> str:
    """Run Python in a folder, with our packages on its path; return what it printed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def seconds(folder: Path, arguments: list[str]) -> float:
    """Run Python in a folder; return how long that took."""
    start = perf_counter()
    python(arguments, folder)
    return perf_counter() - start
