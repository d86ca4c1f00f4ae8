"""Configs, launcher, sweeps, joblib and Optuna under Hydra 1.4, whose release candidate is out.

Run with `pytest -m long tests/launcher/test_next_hydra.py`.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEXT = (
    "hydra-core==1.4.0rc3",
    "omegaconf==2.4.1rc1",
    "hydra-joblib-launcher==1.4.0rc3",
    "hydra-optuna-sweeper==1.4.0rc3",
    "optuna==5.0.0",
)
OTHERS = ("hydra_core", "hydra_plugins", "omegaconf", "optuna")
"""What is of the other version."""
TESTS = (
    "tests/test_configs.py",
    "tests/launcher/test_sweeps.py",
    "tests/launcher/test_searches.py",
)
JOBLIB = "tests/launcher/test_engines.py::test_joblib"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_under_hydra_1_4(tmp_path: Path):
    """In an environment that has it before what is installed here; our warnings are errors."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    install = ["-m", "pip", "install", "-q", "--no-deps", "--pre", *NEXT]
    done = subprocess.run([python, *install], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"it cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    (own,) = (tmp_path / "env/lib").glob("python*/site-packages")
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if not found.name.startswith(OTHERS) and not (own / found.name).exists():
            (own / found.name).symlink_to(found)
    said = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "long or not long", *TESTS, JOBLIB],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout
    which = "import hydra; print(hydra.__version__)"
    found = subprocess.run([python, "-c", which], capture_output=True, text=True)
    assert found.stdout.startswith("1.4"), sys.executable
