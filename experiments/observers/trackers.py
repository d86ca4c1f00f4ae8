"""What trackers have in common: when one is opened, told and closed, and what it is told."""

from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from experiments.observers.contract import Evaluated, Event, Observer, Run
from experiments.results.folder import read_config
from experiments.results.identity import is_identity
from experiments.results.summary import Summary
from experiments.results.swept import flattened
from xformopt.refused import Refused

PROJECT = "xformopt"
"""Where runs are kept together, unless the user says otherwise."""


class Tracker(Observer):
    """Tells another program of a run: its config, each evaluation, and what it reached.

    A kind of them says how that is opened, told and closed. Checkpoints hold `id`, by which it
    knows the run; one that is resumed is opened when that is known.
    """

    id: str | None = None

    @abstractmethod
    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        """Begin a run with that config, or go on with the one that has `id`, where there is one."""

    @abstractmethod
    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Keep the figures of a step."""

    @abstractmethod
    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        """Keep what was reached, at the last step that was judged, and how it ended; close."""

    def start(self, run: Run) -> None:
        """Open what begins."""
        self.run, self.step, self.is_open = run, run.begin, False
        if not run.begin:
            self._open()

    def on(self, event: Event) -> None:
        """Tell of an evaluation."""
        if isinstance(event, Evaluated):
            self._open()
            self.step = event.step
            self.log({**event.metrics, "lr": self.run.rate()}, event.step)

    def end(self, summary: Summary) -> None:
        """Tell what was reached."""
        self._open()
        self.close(summary, figures(summary), self.step)

    def state_dict(self) -> dict[str, Any]:
        """Return by what the run is known."""
        return {"id": self.id} if self.id else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with that run."""
        self.id = state["id"]

    def _open(self) -> None:
        if not self.is_open:
            config = {"title": self.run.title, **flattened(read_config(self.run.folder))}
            self.open(self.run, config)
            self.is_open = True


def package(name: str) -> Any:
    """Return an installed package, which may be slow to import."""
    check_installed(name)
    return import_module(name)


def check_installed(name: str) -> None:
    """Refuse a tracker whose package is missing."""
    if find_spec(name) is None:
        raise Refused(f"it needs the package {name}: `pip install {name}`")


def label(run: Run) -> str:
    """Return a run's name among others: the last parts of its folder's path, two; three of a job.

    That of a job is named by identity and seed, below the folder of its sweep.
    """
    folder = run.folder.resolve()
    count = 3 if is_identity(folder.parent.name) else 2
    return "/".join(folder.parts[-count:])


def figures(summary: Summary) -> dict[str, float]:
    """Return what a run reached, by key.

    >>> figures(Summary("finished", final={"step": 9, "loss": 0.5}, seconds=2.0))
    {'final/step': 9, 'final/loss': 0.5, 'seconds': 2.0}
    """
    parts = {"final": summary.final, "best": summary.best, "target": summary.target}
    reached = {f"{part}/{name}": x for part, held in parts.items() for name, x in held.items()}
    return {**reached, "seconds": summary.seconds}
