"""Ctrl-C while workers run the jobs of a sweep: they hear it too, and save what they have."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from experiments.run.interrupting import say

HEARING = ("JoblibLauncher", "LocalLauncher")
"""Launchers whose workers share our terminal, and hear what we hear."""
SAID = b"\nthe workers save what they have; once more stops at once\n"


@contextmanager
def patience(launcher: Launcher, stopped: Path | None) -> Iterator[None]:
    """Wait for the workers after a first Ctrl-C, and raise it then; a second acts at once.

    No job begins any more, since the file `stopped` is made.
    """
    before = signal.getsignal(signal.SIGINT)
    if type(launcher).__name__ not in HEARING or stopped is None or not callable(before):
        yield
        return
    came: list[int] = []

    def hear(number: int, _: Any) -> None:
        signal.signal(signal.SIGINT, before)
        came.append(number)
        stopped.touch()
        say(SAID)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if came:  # as where a worker was killed while it saved
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
