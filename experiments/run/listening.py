"""Observers, none of which can fail a run."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.observers.contract import Event, Observer, Run
from experiments.results.folder import save_traceback
from experiments.results.summary import Summary


class Listening:
    """Tells observers of a run; one that fails is reported and hears no more."""

    def __init__(self, observers: Mapping[str, Observer], folder: Path) -> None:
        """Take the observers by name."""
        self.observers, self.folder = dict(observers), folder

    def start(self, run: Run) -> None:
        """Tell that a run begins."""
        self._each(lambda observer: observer.start(run))

    def on(self, event: Event) -> None:
        """Tell of an event."""
        self._each(lambda observer: observer.on(event))

    def end(self, summary: Summary) -> None:
        """Tell what was reached."""
        self._each(lambda observer: observer.end(summary))

    def _each(self, tell: Callable[[Observer], Any]) -> None:
        for name, observer in list(self.observers.items()):
            try:
                tell(observer)
            except Exception as error:
                del self.observers[name]
                where = save_traceback(self.folder, error, f"{name}_traceback.txt")
                print(
                    f"warning: the observer `{name}` failed and hears no more: "
                    f"{type(error).__name__}: {error}; see {where}",
                    file=sys.stderr,
                    flush=True,
                )
