"""What a run leaves on disk: config, metrics, summary; each valid at any moment."""

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import yaml

from experiments.results import summary as summaries
from experiments.results.claim import Claim, Taken, claimed, holder
from experiments.results.summary import Summary
from xformopt.refused import Refused

METRICS, CONFIG, TRACEBACK = "metrics.jsonl", "config.yaml", "traceback.txt"
ANOTHER = "; another folder: `hydra.run.dir=…`"
UMASK = os.umask(0o077)
os.umask(UMASK)
READABLE = 0o666 & ~UMASK
"""Who may read and write files that are made, which some libraries keep to their owner."""


class Busy(Refused):
    """Another process works in the folder."""


class RunFolder:
    """Writes a run's files into a folder; nothing that stands there is ever deleted."""

    def __init__(self, path: Path) -> None:
        """Make the folder."""
        self.path = path
        self.claim: Claim | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or "it cannot be made"
            raise Refused(f"`{path}`: {why}{ANOTHER}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, as one process can at a time; a kill lets it go.

        Raises:
            Busy: where another process holds it.
        """
        with ExitStack() as stack:
            try:
                self.claim = stack.enter_context(claimed(self.path))
            except Taken as error:
                raise Busy(self._at_work(error)) from error
            yield

    def check_is_held(self) -> None:
        """Raise `Busy` where this process held the folder, and another one took over."""
        try:
            if self.claim:
                self.claim.check()
        except Taken as error:
            raise Busy(self._at_work(error)) from error

    def check_is_free(self) -> None:
        """Refuse a folder in which a run began."""
        if (self.path / CONFIG).exists():
            raise Refused(f"`{self.path}`: the folder holds a run already{ANOTHER}")

    def _at_work(self, taken: Taken) -> str:
        return f"`{self.path}`: a run is at work in it, {taken}{ANOTHER}"

    def write_config(self, text: str) -> None:
        """Save the config."""
        replace(self.path / CONFIG, text)

    def keep_metrics(self, step: int) -> None:
        """Leave the whole lines of a run up to a step, and none after it."""
        path = self.path / METRICS
        held = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in held if line.endswith(b"\n")]
        with aside(path) as unfinished:
            unfinished.write_bytes(b"".join(x for x in whole if json.loads(x)["step"] <= step))

    def append_metrics(self, metrics: Mapping[str, float]) -> None:
        """Append a whole line to `metrics.jsonl` at once, so that a kill leaves none half."""
        self.check_is_held()
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with (self.path / METRICS).open("ab", buffering=0) as file:
            file.write(line.encode())

    def summary(self) -> Summary:
        """Return the summary of the run, as far as it came."""
        path = self.path / summaries.NAME
        return summaries.read(path) if path.exists() else Summary("running")

    def write_summary(self, summary: Summary) -> None:
        """Replace `summary.json`."""
        self.check_is_held()
        replace(self.path / summaries.NAME, summaries.as_json(summary))


def runs_in(folder: Path) -> list[Path]:
    """Return the run of a folder, or those of the sweep that it holds, in order of their names."""
    found = [path.parent for path in folder.rglob(summaries.NAME)]
    found = [run for run in found if (run / CONFIG).is_file()]
    if not found:
        raise Refused(f"`{folder}` holds no run that began, with its `{CONFIG}`")
    return sorted(found, key=by_number)


def status_in(run: Path) -> Summary:
    """Return the summary of a run, which is killed if nobody holds it and it did not end."""
    summary = summaries.read(run / summaries.NAME)
    is_killed = summary.status == "running" and not holder(run)
    return changed(summary, status="killed") if is_killed else summary


def by_number(run: Path) -> tuple[Path, int, str]:
    """Return by what runs are sorted: where they stand, and then so that 10 comes after 9."""
    return run.parent, len(run.name), run.name


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the figures of each evaluation of a run."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON, none without it; a last one left half is none."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config of a run, as it was resolved."""
    return yaml.safe_load((folder / CONFIG).read_text())


def save_traceback(folder: Path, error: BaseException, name: str = TRACEBACK) -> Path | None:
    """Save where an error came from; return the file, or None where it cannot be written."""
    try:
        replace(folder / name, "".join(traceback.format_exception(error)))
    except OSError:
        return None
    return folder / name


def replace(path: Path, text: str) -> None:
    """Write a file aside, as no other process does, and put it into its place in one move."""
    with aside(path, f".{os.getpid()}.part") as unfinished:
        unfinished.write_text(text)


def synced(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def aside(path: Path, end: str = ".part") -> Iterator[Path]:
    """Give the file or folder to write, put into its place in one move when it is whole."""
    unfinished = path.with_name(f"{path.name}{end}")
    yield unfinished
    for file in [unfinished] if unfinished.is_file() else unfinished.iterdir():
        file.chmod(READABLE)
    os.replace(unfinished, path)
