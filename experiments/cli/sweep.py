"""A sweep from its start to its leaderboard."""

import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from experiments.results.folder import replace
from experiments.results.leaderboard import (
    as_csv,
    as_markdown,
    leaderboard,
    read_summaries,
    remarks,
)
from experiments.results.summary import Summary


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was stopped: `Leaderboard` can still say what its jobs have reached."""

    def __init__(self, sweep: "Leaderboard") -> None:
        """Hold the sweep."""
        super().__init__()
        self.sweep = sweep


class Leaderboard(Callback):
    """Prints and saves the leaderboard when a sweep ends; a sweep with failures exits with 1."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the time: summaries from before are of another sweep in the same folder."""
        self.folder, self.start = Path(config.hydra.sweep.dir), time.time()
        numbers = (signal.SIGINT, signal.SIGTERM)
        self.before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write what the jobs reached."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if sys.exc_info()[0]:  # Hydra 1.4 calls this of a sweep that ended early, too
            return
        try:
            jobs = self.finish()
        except Exception as error:  # Hydra would make a warning of it
            print(f"error: no leaderboard: {type(error).__name__}: {error}", file=sys.stderr)
            raise SystemExit(1) from error
        if not jobs:
            print(f"error: no job of the sweep left a summary in {self.folder}", file=sys.stderr)
        if not jobs or any(job.status != "finished" for job in jobs):
            raise SystemExit(1)

    def finish(self) -> list[Summary]:
        """Print and save the table of the jobs that began; return what they reached."""
        jobs = read_summaries(self.folder, since=self.start)
        if jobs:
            rows = leaderboard(jobs)
            table = as_markdown(rows)
            replace(self.folder / "leaderboard.md", table + "\n")
            replace(self.folder / "leaderboard.csv", as_csv(rows))
            saved = f"saved as leaderboard.md and leaderboard.csv in {self.folder}"
            print("\n".join(["", table, "", *_notes(remarks(jobs)), saved]))
        return jobs

    def _interrupt(self, *_: Any) -> NoReturn:
        raise SweepInterrupted(self)


def _notes(lines: list[str]) -> list[str]:
    return [f"note: {line}" for line in lines]
