"""What a run leaves on disk: config, metrics, summary; each valid at any moment."""

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from experiments.results import summary as summaries
from experiments.results.summary import Summary
from xformopt.refused import Refused

HELD = "the folder holds a run already"
METRICS, CONFIG, TRACEBACK = "metrics.jsonl", "config.yaml", "traceback.txt"


class RunFolder:
    """Writes a run's files into a folder; nothing that stands there is ever deleted."""

    def __init__(self, path: Path) -> None:
        """Make the folder, or refuse one in which a run has measured something."""
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error.strerror or "it cannot be made") from error
        if (path / METRICS).exists():
            raise self._refused(HELD)

    def claim(self) -> None:
        """Begin the run's metrics; of two runs at once in one folder, the second is refused."""
        try:
            (self.path / METRICS).open("x").close()
        except FileExistsError as error:
            raise self._refused(HELD) from error

    def _refused(self, why: str) -> Refused:
        return Refused(f"`{self.path}`: {why}; another folder: `hydra.run.dir=…`")

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


def save_traceback(folder: Path, error: BaseException, name: str = TRACEBACK) -> Path | None:
    """Save where an error came from; return the file, or None where it cannot be written."""
    try:
        replace(folder / name, "".join(traceback.format_exception(error)))
    except OSError:
        return None
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
