"""Who works in a folder: one process at a time, whatever started it, on shared disks too.

A claim is a file `.claim.N` that is made exclusively, names its owner, and is renewed by a
heartbeat. It is over when its owner has let it go, is gone from its machine, or has been silent for
too long; then one process alone can make `.claim.N+1`. Nothing is locked and nothing is deleted, so
that no outdated view of the folder can give it to two.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from experiments.results.owner import Owner, is_gone, this_process

PREFIX = ".claim."
RELEASED = "released"
BEAT, SILENCE = 10.0, 120.0
"""Seconds between two heartbeats, and without one until a claim is over."""


class Taken(Exception):
    """Another process holds the folder; says which."""


class Claim:
    """The right to write into a folder, for as long as no newer one is made."""

    def __init__(self, path: Path) -> None:
        """Take the file."""
        self.path = path
        self.next = path.with_name(f"{PREFIX}{_number(path) + 1}")

    def check(self) -> None:
        """Raise `Taken` where this process was silent for so long that another one took over."""
        if self.next.exists():
            raise Taken(_alive(self.next) or "another process, which took over")


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Hold a folder for as long as the block lasts.

    Raises:
        Taken: where another process holds it.
    """
    claim, ended = Claim(_claim(folder)), threading.Event()
    beating = threading.Thread(target=_beat, args=(claim.path, ended), daemon=True)
    beating.start()
    try:
        yield claim
    finally:
        ended.set()
        beating.join()
        with claim.path.open("a") as file:
            file.write(f"{RELEASED}\n")


def holder(folder: Path) -> str:
    """Return who holds a folder, "" if nobody does."""
    newest = _newest(folder)
    return "" if newest < 0 else _alive(folder / f"{PREFIX}{newest}")


def _claim(folder: Path) -> Path:
    """Make the next claim, where the newest is over."""
    newest = _newest(folder)
    if newest >= 0 and (owner := _alive(folder / f"{PREFIX}{newest}")):
        raise Taken(owner)
    path = folder / f"{PREFIX}{newest + 1}"
    try:
        with path.open("x") as file:
            file.write(json.dumps(this_process()._asdict()) + "\n")
    except FileExistsError as error:
        raise Taken("another process, which was faster") from error
    return path


def _newest(folder: Path) -> int:
    return max(map(_number, folder.glob(f"{PREFIX}*")), default=-1)


def _number(claim: Path) -> int:
    number = claim.name.removeprefix(PREFIX)
    return int(number) if number.isdigit() else -1


def _alive(claim: Path) -> str:
    """Return whose claim it is, "" if it is over."""
    first, *rest = [*claim.read_text().splitlines(), ""]
    if RELEASED in rest:
        return ""
    try:
        owner = Owner(**json.loads(first))
    except (ValueError, TypeError):  # it is being made, or was left half
        return "" if _is_silent(claim) else "a process that has not said its name"
    is_over = gone if (gone := is_gone(owner)) is not None else _is_silent(claim)
    return "" if is_over else str(owner)


def _is_silent(claim: Path) -> bool:
    """Return whether a claim was not renewed for long, by the clock of the disk."""
    with NamedTemporaryFile(dir=claim.parent, prefix=".now.") as now:
        return os.stat(now.name).st_mtime - claim.stat().st_mtime > SILENCE


def _beat(claim: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        try:
            os.utime(claim)
        except OSError:  # the disk is away, and may come back
            continue
