"""A case of the bench: what is timed, and the figures that are read off the seconds."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from experiments.bench.clock import Times, spread

Row = dict[str, Any]
Seconds = Mapping[str, float]
"""What each variant took in one round."""


class Figure(NamedTuple):
    """A number that each round gives."""

    of: str
    """The variant that it is of."""
    words: str
    value: Callable[[Seconds], float]
    goal: float | None = None
    """The most that its median is to be."""


class Measured(NamedTuple):
    """The seconds of each variant in each round, and the MiB that steps hold beyond the bare."""

    times: Times
    memory: Mapping[str, float]


class Case(NamedTuple):
    """Variants that are timed in turn, round by round."""

    kind: str
    set: str
    inner: str
    what: str
    entries: Mapping[str, str]
    """For each variant the public name that was called."""
    figures: list[Figure]
    measure: Callable[[int, torch.device], Measured]
    """Takes the number of rounds, and the device."""
    cpu_only: bool = False

    @property
    def label(self) -> str:
        """The name of the case, of which `--only` gives a part."""
        return ", ".join(filter(None, (self.kind, self.set, self.inner, self.what)))

    def rows(self, rounds: int, device: torch.device) -> list[Row]:
        """Measure it; return a row for each figure."""
        measured = self.measure(rounds, device)
        return [self._row(figure, measured) for figure in self.figures]

    def _row(self, figure: Figure, measured: Measured) -> Row:
        times = measured.times
        each = [dict(zip(times, taken, strict=True)) for taken in zip(*times.values(), strict=True)]
        low, median, high = spread([figure.value(seconds) for seconds in each])
        _, seconds, _ = spread(times[figure.of])
        row = {
            "kind": self.kind,
            "set": self.set,
            "inner": self.inner,
            "what": self.what,
            "who": figure.of,
            "entry": self.entries[figure.of],
            "figure": figure.words,
            "low": low,
            "median": median,
            "high": high,
            "goal": figure.goal,
            "met": figure.goal is not None and median <= figure.goal,
            "ms": 1e3 * seconds,
        }
        held = measured.memory.get(figure.of)
        return row if held is None else {**row, "memory": held}


def ratio(of: str, over: str, words: str, goal: float | None = None) -> Figure:
    """Return the figure that is the time of one variant over that of another.

    >>> ratio("ours", "theirs", "step over theirs").value({"ours": 1.0, "theirs": 2.0})
    0.5
    """
    return Figure(of, words, lambda seconds: seconds[of] / seconds[over], goal)


def extra_copies(
    of: str, goal: float | None = None, over: str = "bare", words: str = "extra copies"
) -> Figure:
    """Return the time beyond the bare step, or another, over that of a copy of all gradients."""
    return Figure(of, words, lambda seconds: (seconds[of] - seconds[over]) / seconds["copy"], goal)
