"""Whose fault an error is, and the one clear line that says so."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments.cli.advice import after_divergence, out_of_memory
from experiments.cli.hydra_errors import in_our_words
from experiments.cli.said import said
from experiments.results.folder import save_traceback
from experiments.run.judging import Diverged
from xformopt.refused import Refused

WRONG_COMMAND, FAILED_RUN = 2, 1
CHECKING = ("xformopt", "torch.optim")
"""Where a `ValueError` or `TypeError` is a check of the settings, in a step too."""

BUILDING = (*CHECKING, "experiments", "hydra", "hydra_zen", "omegaconf", "torch")
"""Where a `TypeError` that is raised while parts are built says what the command got wrong."""


@dataclass(frozen=True)
class Failure:
    """An error, the line that is printed of it, and the exit status."""

    error: BaseException
    line: str
    status: int


def failure(
    error: BaseException,
    cfg: DictConfig | None = None,
    folder: Path | None = None,
    *,
    building: bool = True,
) -> Failure:
    """Return what is said of an error; of a bug, the traceback is saved in `folder`."""
    if isinstance(error, KeyboardInterrupt):
        return Failure(error, "interrupted", FAILED_RUN)
    if cfg is not None and isinstance(error, Diverged):
        advice = after_divergence(cfg, error)
        return Failure(error, f"{error}; {advice}", FAILED_RUN)
    if cfg is not None and isinstance(error, torch.OutOfMemoryError):
        return Failure(error, out_of_memory(cfg), FAILED_RUN)
    if _is_refusal(error, building):
        return Failure(error, one_line(error), WRONG_COMMAND)
    cause = error.__cause__ if isinstance(error, InstantiationException) else None
    line = f"{type(cause or error).__name__}: {one_line(error)}"
    where = save_traceback(folder, cause or error) if folder else "HYDRA_FULL_ERROR=1 shows where"
    return Failure(error, f"{line}; see {where}" if folder else f"{line} ({where})", FAILED_RUN)


def one_line(error: BaseException) -> str:
    """Say what is wrong, where, and the way out, in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.strerror}: `{error.filename}`; another folder: `hydra.run.dir=…`"
    return in_our_words(error) or said(error)


def _is_refusal(error: BaseException, building: bool) -> bool:
    """Return whether the command is at fault, rather than our code or the user's."""
    if isinstance(error, InstantiationException) and error.__cause__:
        return isinstance(error.__cause__, ImportError) or _is_refusal(error.__cause__, building)
    if isinstance(error, Refused | HydraException | OmegaConfBaseException):
        return True
    if isinstance(error, ValueError) and building:
        return True
    if isinstance(error, OSError) and building:
        return bool(error.filename)
    module = _module(error.__traceback__)
    if isinstance(error, AssertionError):
        return module.startswith("torch.optim.")  # torch's way to check `capturable`
    checking = BUILDING if building else CHECKING
    return isinstance(error, ValueError | TypeError) and module.startswith(checking)


def _module(trace: TracebackType | None) -> str:
    """Return the name of the module in which an error was raised."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
