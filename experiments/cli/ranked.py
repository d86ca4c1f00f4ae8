"""A command that `torchrun` starts several times: the first process alone shows and keeps."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from tempfile import TemporaryDirectory

from torch import distributed

from experiments.cli.command import SWEEP
from experiments.run.ranks import rank
from xformopt.refused import Refused

STARTED = "TORCHELASTIC_RUN_ID"
"""What `torchrun` leaves in the environment."""


@contextmanager
def ranked(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Join the other processes; give the arguments of this one.

    All but the first print nothing, and leave their files in a folder that is thrown away.
    """
    if STARTED not in os.environ:
        yield [*arguments]
        return
    if SWEEP & set(arguments):
        raise Refused("`-m`: a sweep under `torchrun`; start its jobs one after the other")
    distributed.init_process_group()
    if rank() == 0:
        yield [*arguments]
    else:
        with (
            TemporaryDirectory() as folder,
            open(os.devnull, "w") as nothing,
            redirect_stdout(nothing),
        ):
            yield [*arguments, f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    distributed.destroy_process_group()
