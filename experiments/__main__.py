"""`python -m experiments`: run a config, or sweep over several with `-m`."""

import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments import leaderboard
from experiments.errors import is_user_error, one_line
from xformopt.configs import add_to_hydra_store

CONF = Path(__file__).parent.parent / "conf"
FULL_ERROR = "HYDRA_FULL_ERROR"

failed: list[Exception] = []
"""What ended the run; kept from Hydra, which would print a line of its own."""


def main() -> int:
    """Run the command line; return the exit status: 2 for a wrong command, 1 for a failed run."""
    failed.clear()
    leaderboard.failures.clear()
    wants_traceback = os.environ.get(FULL_ERROR) not in (None, "0")
    os.environ[FULL_ERROR] = "1"
    add_to_hydra_store()
    launch = hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(_job)
    try:
        launch()
    except Exception as error:
        failed.append(error)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    if failed:
        return _report(failed[0], wants_traceback)
    return 1 if leaderboard.failures else 0


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
    from experiments.run import as_rows, run

    hydra_cfg = HydraConfig.get()
    path = Path(hydra_cfg.runtime.output_dir)
    sweeping = hydra_cfg.mode == RunMode.MULTIRUN
    try:
        summary = run(cfg, path, list(hydra_cfg.overrides.task))
    except Exception as error:
        if sweeping:
            print(f"error: {one_line(error)}", file=sys.stderr)
        else:
            failed.append(error)
        return None
    if not sweeping:
        _show(as_rows(summary, path))
    return summary["final"][summary["goal"]["metric"]]


def _show(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
