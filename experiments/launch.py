"""From the command line to jobs: Hydra composes, each job runs, failures get their one line."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments import advice, leaderboard
from experiments.check import CONF
from experiments.command import check_command, for_each_job
from experiments.errors import is_user_error, one_line
from xformopt.configs import add_to_hydra_store

FULL_ERROR = "HYDRA_FULL_ERROR"

failed: list[Exception] = []
"""What ended the run; kept from Hydra, which would print a line of its own."""


def launch() -> int:
    """Run the command line; return the exit status: 2 for a wrong command, 1 for a failed run."""
    failed.clear()
    leaderboard.failures.clear()
    advice.said.clear()
    wants_traceback = os.environ.get(FULL_ERROR) not in (None, "0")
    os.environ[FULL_ERROR] = "1"
    add_to_hydra_store()
    start = hydra.main(config_path=str(CONF), config_name="config", **main_options())(_job)
    try:
        check_command(sys.argv[1:])
        sys.argv[1:] = for_each_job(sys.argv[1:])
        start()
    except Exception as error:
        failed.append(error)
    except KeyboardInterrupt:
        leaderboard.finish()
        raise
    if failed:
        return _report(failed[0], wants_traceback)
    return 1 if leaderboard.failures else 0


def main_options() -> dict[str, Any]:
    """Return what this Hydra's `main` is told: which version's ways, or which targets to trust.

    All are: a command line is its user's own, who may name any importable class.
    """
    trust = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
    return {"version_base": "1.3"} if trust is None else {"execution_whitelist": trust}


def _report(error: Exception, wants_traceback: bool) -> int:
    if wants_traceback:
        traceback.print_exception(error)
    print(f"error: {one_line(error)}", file=sys.stderr)
    if is_user_error(error):
        return 2
    if isinstance(error, FloatingPointError):
        return 1
    print(f"({FULL_ERROR}=1 shows where)", file=sys.stderr)
    return 1


def _job(cfg: DictConfig) -> float | None:
    """Run one job; in a sweep, a failure is its row in the leaderboard, not the end of all."""
    from experiments.report import show
    from experiments.run import run

    hydra_cfg = HydraConfig.get()
    path = Path(hydra_cfg.runtime.output_dir)
    sweeping = hydra_cfg.mode == RunMode.MULTIRUN
    overrides = list(
        map(str, OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False) or ())
    )
    try:
        summary = run(cfg, path, overrides)
    except Exception as error:
        if sweeping:
            where = f"job {hydra_cfg.job.num} ({' '.join(overrides)})"
            leaderboard.failures.append(f"{where}: {one_line(error)}")
            print(f"error: {leaderboard.failures[-1]}", file=sys.stderr)
        else:
            failed.append(error)
        return None
    if not sweeping:
        show(summary, path)
    return summary["final"][summary["goal"]["metric"]]
