"""The weights that a run kept, judged anew; what is on record already is not measured again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from experiments.data.contract import Data, Images
from experiments.evaluation.conditions import Condition
from experiments.evaluation.measuring import Weights, Which, described, masked, measure, noting
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


def judge_anew(run: Finished, robustness: Robustness, notes: list[str]) -> Iterator[Evaluation]:
    """Measure what is not on record, append it, and give each line; the last weights come first.

    Where the best weights are the last, they are measured once.
    """
    test, record = robustness.part(run.data.test), Record(run.folder)
    conditions = list(robustness.conditions(run.data))
    files = weights_of(run.folder)
    last = {one.average: one.step for one in files if one.which == "last"}
    for kept in files:
        weights = Weights(run.model, kept.which, kept.average)
        fill(run.model, kept.file)
        own: list[Evaluation] = []
        for condition in conditions:
            asked = described(weights, "test", test, condition)
            if one := record.find(asked):
                own.append(one)
                continue
            same = kept.step and kept.step == last.get(kept.average)
            found = record.find(replace(asked, weights="last")) if same else None
            if found is None:
                with noting(notes, condition):
                    found = _measured(run, weights, test, condition)
            own.append(replace(found, weights=kept.which))
            record.keep(own[-1])
            yield own[-1]
        notes += masked(conditions, own, run.task.goal)


def _measured(run: Finished, weights: Weights, test: Images, condition: Condition) -> Evaluation:
    with evaluating(run.model), precision(run.trainer, run.device):
        return measure(run.task.evaluate, weights, "test", test, condition)


def weights_of(folder: Path) -> list[Kept]:
    """Return the files of weights that a run kept, the last first."""
    found = [_kept(path) for path in sorted(folder.glob("*.safetensors"), reverse=True)]
    kept = [one for one in found if one.which in ("last", "best")]
    if not kept:
        raise Refused(f"`{folder}` keeps no weights: `trainer.checkpoint=both` does, in a run anew")
    return sorted(kept, key=lambda one: one.which != "last")


def fill(model: nn.Module, file: Path) -> None:
    """Give a network the weights of a file, which must be of such a one."""
    from safetensors.torch import load_model

    try:
        load_model(model, str(file))
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:2]).strip().rstrip(".")
        says = f"`{file}` holds the weights of another network than `config.yaml` says: {first}"
        raise Refused(says) from error


def _kept(path: Path) -> Kept:
    from safetensors import safe_open

    which, _, average = path.stem.partition("_")
    with safe_open(path, framework="pt") as file:
        step = (file.metadata() or {}).get("step", "")
    return Kept(path, which, average, step)  # type: ignore[arg-type]
