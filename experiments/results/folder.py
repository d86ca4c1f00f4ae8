"""What a run leaves on disk: config, metrics, summary; each valid at any moment."""

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from experiments.results import summary as summaries
from experiments.results.summary import Summary

METRICS, CONFIG, TRACEBACK = "metrics.jsonl", "config.yaml", "traceback.txt"


class RunFolder:
    """Writes a run's files into a folder; nothing that stands there is ever deleted."""

    def __init__(self, path: Path) -> None:
        """Make the folder, or refuse one in which a run has measured something."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        if (path / METRICS).exists():
            raise FileExistsError(17, "It holds a run already", str(path))

    def write_config(self, text: str) -> None:
        """Save the config."""
        replace(self.path / CONFIG, text)

    def append_metrics(self, metrics: Mapping[str, float]) -> None:
        """Append a whole line to `metrics.jsonl` at once, so that a kill leaves none half."""
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with (self.path / METRICS).open("ab", buffering=0) as file:
            file.write(line.encode())

    def write_summary(self, summary: Summary) -> None:
        """Replace `summary.json`."""
        replace(self.path / summaries.NAME, summaries.as_json(summary))


def save_traceback(folder: Path, error: BaseException, name: str = TRACEBACK) -> Path:
    """Save where an error came from; return the file."""
    replace(folder / name, "".join(traceback.format_exception(error)))
    return folder / name


def replace(path: Path, text: str) -> None:
    """Write a file aside, and put it into its place in one move."""
    with aside(path) as unfinished:
        unfinished.write_text(text)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give the file to write, which is put into its place in one move when it is whole."""
    unfinished = path.with_name(f"{path.name}.part")
    yield unfinished
    os.replace(unfinished, path)
