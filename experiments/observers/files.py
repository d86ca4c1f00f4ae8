"""The files that every run keeps: a line an evaluation, and the summary."""

from experiments.observers.contract import Evaluated, Event, Observer
from experiments.results.folder import RunFolder
from experiments.results.summary import Summary


class Files(Observer):
    """Appends to `metrics.jsonl`, and replaces `summary.json` at the end."""

    def __init__(self, folder: RunFolder) -> None:
        """Write into a folder that was opened."""
        self.folder = folder

    def on(self, event: Event) -> None:
        """Append the line of an evaluation."""
        if isinstance(event, Evaluated):
            line = {"step": event.step, **event.metrics, "seconds": round(event.seconds, 3)}
            self.folder.append_metrics(line)

    def end(self, summary: Summary) -> None:
        """Save the summary."""
        self.folder.write_summary(summary)
