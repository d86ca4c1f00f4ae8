"""A process, so that another one can tell whether it still runs."""

import os
import platform
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Owner(NamedTuple):
    """A process: its machine since it was started, as its container sees it, and its own start."""

    machine: str
    pid: int
    began: str
    host: str
    job: str = ""

    def __str__(self) -> str:
        """Return where it runs."""
        return f"process {self.pid} on {self.host}" + (f", job {self.job}" if self.job else "")


def this_process() -> Owner:
    """Return the process that asks."""
    job = os.environ.get("SLURM_JOB_ID", "")
    pid = os.getpid()
    return Owner(_machine(), pid, _began(pid), platform.node(), job)


def is_gone(owner: Owner) -> bool | None:
    """Return whether a process has ended; None where it is of another machine.

    >>> is_gone(this_process())
    False
    """
    if owner.machine != _machine():
        return None
    return not _runs(owner.pid) or _began(owner.pid) != owner.began


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _status(pid)[:1] not in (["Z"], ["X"])


def _began(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; "" where nothing says so."""
    return next(iter(_status(pid)[19:20]), "")


def _status(pid: int) -> list[str]:
    """Return what Linux says of a process after its name: its state first, its start as 20th."""
    try:
        said = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return said.rpartition(")")[2].split()


@cache
def _machine() -> str:
    """Return what tells machines, their starts, and containers of one machine apart."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"
