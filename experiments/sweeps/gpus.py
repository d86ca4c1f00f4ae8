"""A GPU for each process that runs jobs of a sweep side by side."""

import os
from contextlib import ExitStack
from pathlib import Path

import torch

from experiments.results.claim import Taken, claimed

VISIBLE = "CUDA_VISIBLE_DEVICES"
FOLDER = ".gpus"
held = ExitStack()
"""Keeps the claim of this process until it ends."""


def keep_to_one(sweep: Path, launcher: int) -> None:
    """Let a worker see one GPU of several, which it keeps for all of its jobs.

    `launcher` is the process that began the sweep: its own jobs, one after the other, see all.
    """
    count = torch.cuda.device_count()
    if os.getpid() == launcher or count < 2 or torch.cuda.is_initialized():
        return
    seen = os.environ.get(VISIBLE, "")
    names = seen.split(",") if seen else [str(i) for i in range(count)]
    os.environ[VISIBLE] = names[free(sweep / FOLDER / os.uname().nodename, count)]


def free(folder: Path, count: int) -> int:
    """Return the first of some GPUs that no other process has claimed; one by chance, if none is.

    The claim is that of this process until it ends.
    """
    for index in range(count):
        own = folder / str(index)
        own.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(claimed(own))
        except Taken:
            continue
        return index
    return os.getpid() % count
