"""Whose fault an error is, and the one clear line that says so."""

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

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
REFUSALS = (Refused, HydraException, OmegaConfBaseException)

HYDRA = ("hydra.", "hydra_zen.")
PASSED = ("importlib", "os", "pathlib", "torch")
"""Modules whose frames do not say whose fault an error is, since others call them."""


@dataclass(frozen=True)
class Failure:
    """An error, the reason that is kept of it, the exit status, and where its traceback stands."""

    error: BaseException
    reason: str
    status: int
    where: str = ""

    @property
    def line(self) -> str:
        """Return what is printed of it."""
        return "; ".join(filter(None, (self.reason, self.where)))


def failure(
    error: BaseException, cfg: DictConfig | None = None, folder: Path | None = None
) -> Failure:
    """Return what is said of an error; of a bug, the traceback is saved in `folder`."""
    if not isinstance(error, Exception):
        return Failure(error, "interrupted", FAILED_RUN)
    if cfg is not None and isinstance(error, Diverged):
        return Failure(error, f"{error}{after_divergence(cfg, error)}", FAILED_RUN)
    if cfg is not None and isinstance(error, torch.OutOfMemoryError):
        return Failure(error, out_of_memory(cfg), FAILED_RUN)
    if _is_refusal(error):
        return Failure(error, one_line(error), WRONG_COMMAND)
    cause = error.__cause__ if isinstance(error, InstantiationException) else None
    where = save_traceback(folder, cause or error) if folder else None
    said = f"see {where}" if where else f"{_line_of(cause or error)}; HYDRA_FULL_ERROR=1 shows all"
    return Failure(error, f"{type(cause or error).__name__}: {one_line(error)}", FAILED_RUN, said)


def reported(error: Exception, where: str = "") -> int:
    """Print what is said of an error; return the exit status."""
    failed = failure(error)
    print(f"error: {where}{failed.line}", file=sys.stderr)
    return failed.status


def one_line(error: BaseException) -> str:
    """Say what is wrong, where, and the way out, in one line."""
    if isinstance(error, OSError) and not isinstance(error, HydraException) and _is_refusal(error):
        return f"`{error.filename}`: {error.strerror}; another folder: `hydra.run.dir=…`"
    return in_our_words(error) or said(error)


def _is_refusal(error: BaseException) -> bool:
    """Return whether the command is at fault, rather than our code or the user's.

    It is where a setting is refused, by us, by Hydra or by an optimizer of torch, and where a call
    that the config makes does not fit.
    """
    if isinstance(error, InstantiationException) and error.__cause__:
        return _is_refusal(error.__cause__) or _caller(error.__cause__).startswith(HYDRA)
    if isinstance(error, REFUSALS):
        return True
    if isinstance(error, OSError):
        return bool(error.filename) and _caller(error).startswith(HYDRA)
    checks = isinstance(error, AssertionError | ValueError | TypeError)
    return checks and "".join(_modules(error)[-1:]).startswith("torch.optim.")


def _caller(error: BaseException) -> str:
    """Return the name of the module that raised an error, or called what did."""
    modules = reversed(_modules(error))
    return next((m for m in modules if m.partition(".")[0] not in PASSED), "")


def _modules(error: BaseException) -> list[str]:
    """Return the modules that an error came through, the one that raised it last."""
    frames = traceback.walk_tb(error.__traceback__)
    return [frame.f_globals.get("__name__", "") for frame, _ in frames]


def _line_of(error: BaseException) -> str:
    """Return the line that raised an error."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"raised at {last.filename}:{last.lineno}"
