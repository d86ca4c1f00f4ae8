"""All that a run needs to go on, on disk."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from experiments.results.folder import aside, synced
from experiments.run.ranks import ranks
from experiments.run.state import Best, Judged, State, Weights, copied
from experiments.run.world import draws, set_draws
from xformopt.refused import Refused

FOLDER, STEP, REST = "checkpoints", "step_", "state.pt"
COUNTERS = ("step", "loss", "counted", "seconds", "stale", "target", "watched")
KEEPERS = ("optimizer", "scheduler", "scaler", "adversarial")
"""What of a state is saved as it is, and what has a `state_dict`, beside the models."""


class Every(NamedTuple):
    """How often a checkpoint is saved: after so many steps, or so many seconds."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, said: Any) -> "Every":
        """Read 200 as steps, and '30s' as seconds.

        >>> Every.of(200), Every.of("30s")
        (Every(steps=200, seconds=None), Every(steps=None, seconds=30.0))
        """
        if isinstance(said, int) and not isinstance(said, bool) and said >= 1:
            return cls(steps=said)
        if isinstance(said, str) and re.fullmatch(r"\d+(\.\d+)?s", said) and float(said[:-1]):
            return cls(seconds=float(said[:-1]))
        raise Refused("checkpoint_every", "steps, as 200, seconds, as '30s', or null", said)


class Checkpoints:
    """Saves the state of a run in `checkpoints/step_N`, and deletes the one before.

    Weights are safetensors; the rest is read by `torch.load(weights_only=True)`. What is saved is
    written aside, synced, and moved into its place, so that a kill leaves one that is whole.
    """

    def __init__(self, folder: Path, every: Every, step: int = 0) -> None:
        """Save into the folder of a run, which begins at a step."""
        self.folder, self.every, self.saved = folder / FOLDER, every, step
        self.time = perf_counter()

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after a step."""
        if self.every.steps:
            return step % self.every.steps == 0 and step != self.saved
        return perf_counter() - self.time >= (self.every.seconds or 0)

    def save(self, state: State, observers: Mapping[str, Any]) -> None:
        """Save a state between two steps, and those of observers; once a step."""
        if state.step == self.saved:
            return
        self.folder.mkdir(exist_ok=True)
        with aside(self.folder / f"{STEP}{state.step}") as unfinished:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name, weights in _weights(state):
                save_file(dict(weights), unfinished / f"{name}.safetensors")
            torch.save({**_rest(state), "observers": observers}, unfinished / REST)
            for path in [*unfinished.iterdir(), unfinished]:
                synced(path)
        synced(self.folder)
        self.saved, self.time = state.step, perf_counter()
        for path in self.folder.glob(f"{STEP}*"):
            if path.name != f"{STEP}{state.step}":
                shutil.rmtree(path, ignore_errors=True)


def found(folder: Path) -> Path | None:
    """Return the last checkpoint of a run that is whole."""
    kept = [p for p in (folder / FOLDER).glob(f"{STEP}*") if p.name[len(STEP) :].isdecimal()]
    return max(kept, key=lambda path: int(path.name[len(STEP) :]), default=None)


def restore(checkpoint: Path, state: State, device: torch.device) -> dict[str, Any]:
    """Put a state where a checkpoint was; return the states of observers."""
    places = {place: str(device) for place in ("cuda:0", "mps", "mps:0")}
    held = torch.load(checkpoint / REST, map_location=places, weights_only=True)
    if held["ranks"] != ranks():
        raise Refused("resume", f"with as many processes as before, {held['ranks']}", ranks())
    state.model.load_state_dict(load_file(checkpoint / "model.safetensors", str(device)))
    if state.average is not None:
        state.average.load_state_dict(load_file(checkpoint / "average.safetensors", str(device)))
    for name in KEEPERS:
        if (keeper := getattr(state, name)) is not None:
            keeper.load_state_dict(held[name])
    for name in COUNTERS:
        setattr(state, name, held[name])
    state.last = Judged(**held["last"])
    weights: dict[str, Weights] = {
        name: load_file(checkpoint / f"{_best(name)}.safetensors", str(device))
        for name in held["kept"]
    }
    state.best = Best(**held["best"], weights=weights)
    set_draws(held["draws"])
    return held["observers"]


def _weights(state: State) -> Iterator[tuple[str, Weights]]:
    """Give what is saved as safetensors, which may share no memory."""
    yield "model", copied(state.model.state_dict())
    if state.average is not None:
        yield "average", copied(state.average.state_dict())
    for name, weights in (state.best.weights if state.best else {}).items():
        yield _best(name), weights


def _best(name: str) -> str:
    return "_".join(filter(None, ("best", name)))


def _rest(state: State) -> dict[str, Any]:
    """Return what is no weights."""
    last, best = state.last, state.best
    assert last is not None
    assert best is not None
    keepers = {name: getattr(state, name) for name in KEEPERS}
    return {
        **{name: getattr(state, name) for name in COUNTERS},
        **{name: keeper.state_dict() for name, keeper in keepers.items() if keeper is not None},
        "last": {"step": last.step, "metrics": last.metrics},
        "best": {"step": best.step, "metrics": best.metrics},
        "kept": [*best.weights],
        "draws": draws(),
        "ranks": ranks(),
    }
