"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere."""

import sys
from time import perf_counter

from experiments.observers.contract import Evaluated, Event, Observer, Run
from experiments.results.summary import Summary
from experiments.results.words import as_words

WIDE = 100
"""A terminal of so many columns has room for the learning rate beside the bar."""

LINES = 20
"""The number of plain lines that a run prints, about."""


def console() -> Observer:
    """Return a live bar where there is a terminal, else plain lines."""
    return Bar() if sys.stdout.isatty() else Lines()


class Lines(Observer):
    """Prints a plain line for an evaluation, for about twenty of them and for the last."""

    draws = False

    def start(self, run: Run) -> None:
        """Start the clock."""
        self.run = run
        self.began = perf_counter()
        self.due = 0.0
        self.waiting, self.left_out = "", 0

    def on(self, event: Event) -> None:
        """Print the line of an evaluation, if one is due."""
        if not isinstance(event, Evaluated):
            return
        for note in event.notes:
            print(f"note: {note}", flush=True)
        self.left_out += bool(self.waiting)
        self.waiting = self._line(event)
        if event.step >= self.due or event.step == self.run.steps:
            self.due = event.step + self.run.steps / LINES
            self._print()

    def end(self, summary: Summary) -> None:
        """Print the line of the last evaluation; say how many were left out."""
        self._print()
        if self.left_out:
            many = f"{self.left_out} more evaluation{'s'[: self.left_out > 1]}"
            print(f"{self.run.name}  {many} in metrics.jsonl", flush=True)

    def _line(self, event: Evaluated) -> str:
        step, begin = f"step {event.step}/{self.run.steps}", self.run.begin
        rate = speed(self.run, event.step, self.began) if event.step > begin else ""
        words = [self.run.name, step, as_words(event.metrics), f"lr {self.run.rate():.3g}", rate]
        return "  ".join(filter(None, words))

    def _print(self) -> None:
        if self.waiting:
            print(self.waiting, flush=True)
        self.waiting = ""


class Bar(Observer):
    """Draws a live bar with loss, goal, learning rate, speed and time left."""

    draws = False

    def start(self, run: Run) -> None:
        """Show the bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.run = run
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[metrics]}"),
        )
        self.task = self.bar.add_task(
            run.name, total=run.steps, completed=run.begin, metrics="", rate=""
        )
        self.began = perf_counter()
        self.bar.start()

    def on(self, event: Event) -> None:
        """Move the bar on; beside it fit the loss and the goal."""
        if isinstance(event, Evaluated):
            names = dict.fromkeys([next(iter(event.metrics)), self.run.goal.name])
            shown = as_words({name: event.metrics[name] for name in names})
            self.bar.update(self.task, metrics=shown)
            for note in event.notes:
                self.bar.console.print(f"note: {note}", markup=False)
        else:
            rate = speed(self.run, event.step, self.began)
            if self.bar.console.width >= WIDE:
                rate = f"lr {self.run.rate():.3g}  {rate}"
            self.bar.update(self.task, completed=event.step, rate=rate)

    def end(self, summary: Summary) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()


def speed(run: Run, step: int, began: float) -> str:
    """Return how fast a run is, since it began at a time: images a second, or steps without any."""
    steps = (step - run.begin) / (perf_counter() - began)
    return f"{steps * run.batch:,.0f} images/s" if run.batch else f"{steps:,.0f} steps/s"
