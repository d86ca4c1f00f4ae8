"""Several processes that train one network: the first alone shows and keeps."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import distributed

from experiments.cli.command import SWEEP
from experiments.run.ranks import SUBMITTED, rank
from xformopt.refused import Refused

STARTED = "TORCHELASTIC_RUN_ID"
"""What `torchrun` leaves in the environment."""


@contextmanager
def ranked(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Join the others where `torchrun` started this process; give the arguments of this one."""
    if STARTED not in os.environ:
        yield [*arguments]
        return
    if SWEEP & set(arguments):
        rule = "`-m`: a sweep under `torchrun`; start its jobs one after the other, or have "
        raise Refused(rule + "`hydra/launcher=submitit_local hydra.launcher.tasks_per_node=2`")
    with _joined() as aside:
        apart = [f"hydra.run.dir={aside}", "hydra.output_subdir=null"] if aside else []
        yield [*arguments, *apart]


def tasks() -> int:
    """Return how many processes submitit starts for a job."""
    if SUBMITTED not in os.environ:
        return 1
    return importlib.import_module("submitit").JobEnvironment().num_tasks


@contextmanager
def shared_out(folder: Path) -> Iterator[Path]:
    """Join the other tasks of a job, if it has several; give where this one leaves its files."""
    if tasks() == 1:
        yield folder
        return
    os.environ.pop("MASTER_PORT", None)  # each job has its own, by its number
    helpers = importlib.import_module("submitit.helpers")
    helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    with _joined() as aside:
        yield aside or folder


@contextmanager
def _joined() -> Iterator[Path | None]:
    """Join the other processes.

    All but the first print nothing, and leave their files in the folder that is given, and thrown
    away.
    """
    distributed.init_process_group()
    try:
        if rank() == 0:
            yield None
            return
        with (
            TemporaryDirectory() as folder,
            open(os.devnull, "w") as nothing,
            redirect_stdout(nothing),
        ):
            yield Path(folder)
    finally:
        distributed.destroy_process_group()
