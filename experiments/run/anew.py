"""The weights that a run kept, judged anew; what is on record already is not measured again."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from torch import nn

from experiments.data.contract import Data
from experiments.evaluation.measuring import Asked, Weights, Which, answers_to_note
from experiments.evaluation.robustness import Robustness
from experiments.results.evaluations import Evaluation, Record
from experiments.run.stepping import precision
from experiments.run.trainer import Trainer
from experiments.tasks.contract import Task
from xformopt.perturbations import evaluating
from xformopt.refused import Refused


class Kept(NamedTuple):
    """A file of weights: whether the last or the best, of which average, after which step."""

    file: Path
    which: Which
    average: str
    step: str


class Finished(NamedTuple):
    """What of a finished run is judged: its task, data, network and trainer, on a device."""

    folder: Path
    task: Task
    data: Data
    model: nn.Module
    trainer: Trainer
    device: torch.device


def judge_anew(
    run: Finished, robustness: Robustness, notes: list[str]
) -> Iterator[tuple[Evaluation, bool]]:
    """Give all that is asked, and whether it is new; that is measured, and appended as it comes.

    The last weights come first; where the best are these, they are measured once.
    """
    files = weights_of(run.folder)
    last = {one.average: one.step for one in files if one.which == "last"}
    test, conditions = robustness.part(run.data.test), list(robustness.conditions(run.data))
    record, task = Record(run.folder), run.task
    asked = Asked(task.evaluate, task.goal, "test", test, conditions, record, notes)
    for kept in files:
        fill(run.model, kept.file)
        weights = Weights(run.model, kept.which, kept.average)
        with evaluating(run.model), precision(run.trainer, run.device):
            if kept == files[0] and robustness.attacks:
                notes += answers_to_note(run.model, test)
            as_last = bool(kept.step) and kept.step == last.get(kept.average)
            yield from asked.of(weights, as_last=as_last)


def weights_of(folder: Path) -> list[Kept]:
    """Return the files of weights that a run kept, the last first."""
    kept = [
        _kept(path, which)
        for which in get_args(Which)
        for path in sorted(folder.glob(f"{which}*.safetensors"))
        if path.stem.partition("_")[0] == which
    ]
    if not kept:
        raise Refused(f"`{folder}` keeps no weights: `trainer.checkpoint=both` does, in a run anew")
    return kept


def fill(model: nn.Module, file: Path) -> None:
    """Give a network the weights of a file, which must be of such a one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    try:
        load_model(model, str(file))
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:2]).strip().rstrip(".")
        says = f"`{file}` holds the weights of another network than `config.yaml` says: {first}"
        raise Refused(says) from error
    except SafetensorError as error:
        raise _broken(file, error) from error


def _kept(path: Path, which: Which) -> Kept:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            step = (file.metadata() or {}).get("step", "")
    except SafetensorError as error:
        raise _broken(path, error) from error
    return Kept(path, which, path.stem.partition("_")[2], step)


def _broken(path: Path, error: Exception) -> Refused:
    return Refused(f"`{path}` cannot be read as weights: {error}; another run has whole ones")
