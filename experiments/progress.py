"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from experiments.loop import Evaluation

LINES = 20
"""The number of plain lines that a run prints, at most."""


@contextmanager
def progress(name: str, steps: int) -> Iterator["Bar | Lines"]:
    """Give a live bar where there is a terminal, else plain lines."""
    if not sys.stdout.isatty():
        yield Lines(name, steps)
        return
    shown = Bar(name, steps)
    with shown.bar:
        yield shown


class Lines:
    """Prints a plain line for an evaluation, for about twenty of them."""

    def __init__(self, name: str, steps: int) -> None:
        """Start the clock."""
        self.name, self.steps = name, steps
        self.start = perf_counter()
        self.due = 0.0

    def advance(self, step: int) -> None:
        """Note that a step was made."""

    def show(self, evaluation: Evaluation) -> None:
        """Print the line of an evaluation, if one is due."""
        step = evaluation.step
        if step < self.due and step != self.steps:
            return
        self.due = step + self.steps / LINES
        rate = step / (perf_counter() - self.start)
        print(
            f"{self.name}  step {step}/{self.steps}  {as_words(evaluation.metrics)}  "
            f"{rate:.0f} steps/s",
            flush=True,
        )


class Bar:
    """Draws a live bar with loss, accuracy, rate and time left."""

    def __init__(self, name: str, steps: int) -> None:
        """Lay out the bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[metrics]}"),
        )
        self.task = self.bar.add_task(name, total=steps, metrics="", rate="")
        self.start = perf_counter()

    def advance(self, step: int) -> None:
        """Move the bar on."""
        rate = f"{step / (perf_counter() - self.start):.0f}/s"
        self.bar.update(self.task, completed=step, rate=rate)

    def show(self, evaluation: Evaluation) -> None:
        """Show the first figure, the loss, and the last, which fit beside the bar."""
        names = list(dict.fromkeys([next(iter(evaluation.metrics)), [*evaluation.metrics][-1]]))
        shown = {name: evaluation.metrics[name] for name in names}
        self.bar.update(self.task, metrics=as_words(shown))


def as_words(metrics: dict[str, Any]) -> str:
    """Return metrics as short text.

    >>> as_words({"loss": 0.12345, "test_accuracy": 0.98})
    'loss 0.1235  test_accuracy 0.98'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
