"""Observers, of which those beside the run's own files cannot fail it, nor change its numbers."""

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from experiments.observers.contract import Event, Observer, Run
from experiments.observers.files import Files
from experiments.results.folder import save_traceback
from experiments.results.summary import Summary
from experiments.run.world import without_trace


class Listening:
    """Tells observers of a run; one that fails is reported and hears no more.

    The run's files hear first, and one that cannot be written fails the run.
    """

    def __init__(self, files: Files, observers: Mapping[str, Observer], folder: Path) -> None:
        """Take the run's files, and the observers by name."""
        self.files, self.observers, self.folder = files, dict(observers), folder
        self.notes: list[str] = []
        self.began = False

    def start(self, run: Run) -> None:
        """Tell that a run begins."""
        self.began = True
        self._each(lambda _, observer: observer.start(run))

    def on(self, event: Event) -> None:
        """Tell of an event."""
        self.files.on(event)
        self._each(lambda _, observer: observer.on(event))

    def state_dict(self) -> dict[str, Any]:
        """Return the states of observers that have any, by name."""
        states: dict[str, Any] = {}
        self._each(lambda name, observer: states.update({name: _state_of(observer)}))
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Let observers go on from what they were."""
        self._each(lambda name, o: o.load_state_dict(states[name]) if name in states else None)

    def end(self, summary: Summary) -> None:
        """Tell what was reached; which observers failed is noted in the files alone.

        A run is finished when all have ended: if it is killed before, it can be resumed.
        """
        if summary.status != "finished":
            self.files.end(summary)
        if self.began:
            self._each(lambda _, observer: observer.end(summary))
        self.files.end(replace(summary, notes=(*summary.notes, *self.notes)))

    def _each(self, tell: Callable[[str, Observer], Any]) -> None:
        draws = any(getattr(observer, "draws", True) for observer in self.observers.values())
        with without_trace() if draws else nullcontext():
            for name, observer in list(self.observers.items()):
                try:
                    tell(name, observer)
                except Exception as error:
                    del self.observers[name]
                    self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        where = save_traceback(self.folder, error, f"{name}_traceback.txt")
        said = f"the observer `{name}` failed and hears no more: {type(error).__name__}: {error}"
        self.notes.append(said)
        print(f"warning: {said}" + (f"; see {where}" if where else ""), file=sys.stderr, flush=True)


def _state_of(observer: Observer) -> dict[str, Any]:
    """Return the state of an observer, which need not have one, as a checkpoint gives it back."""
    file = BytesIO()
    torch.save(getattr(observer, "state_dict", dict)(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)
