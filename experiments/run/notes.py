"""What is said of a run before it begins."""

from collections.abc import Iterator

import torch
from torch.optim import Optimizer

from experiments.data.batches import Batches
from experiments.data.contract import Data, Images
from experiments.run.trainer import Trainer
from experiments.tasks.classification import Classification
from experiments.tasks.contract import Task, WithoutData
from xformopt.remarks import remarks
from xformopt.text import first

TRAINING = "training"
"""What recipes are for, where they do not say something else."""

WITHOUT_GAPS = "`np.unique(labels, return_inverse=True)[1]` numbers those that occur"

SHOWN = 6
"""So many classes are named."""


def name_of(task: Task, data: Data | None) -> str:
    """Return what a run is called: by its data where it classifies them, else by its task too."""
    kind = type(task)
    if data is None:
        return getattr(task, "name", kind.__name__)
    return data.name if kind is Classification else f"{data.name}, {kind.__name__}"


def of_data(data: Data | None) -> Iterator[str]:
    """Give what should be known of the classes."""
    if data is None:
        return
    there = _classes_in(data.train)
    names = data.names or [str(number) for number in range(data.classes)]
    absent = [name for number, name in enumerate(names) if number not in there]
    if absent:
        many = f"{len(absent)} of {data.classes} classes"
        occur = set().union(*map(_classes_in, data.parts.values()))
        has_gaps = not data.names and len(occur) < len(names)
        way_out = f"; {WITHOUT_GAPS}" if has_gaps else ""
        yield f"`data`: train has no image of {many}: {first(absent, SHOWN)}{way_out}"


def _classes_in(images: Images) -> set[int]:
    return set(images.labels.unique().tolist())


def of_trainer(trainer: Trainer, batches: Batches | None, device: torch.device) -> Iterator[str]:
    """Give what should be known of the batches, of checkpoints, and of precision."""
    if trainer.precision == "fp16" and device.type == "cpu":
        yield "`trainer.precision=fp16` is slow on a CPU; bf16 is not"
    if batches and batches.size != trainer.batch_size:
        size = f"the {batches.size} images of train"
        yield f"`trainer.batch_size` is more than {size}: all are one batch"
    if trainer.strategy == "fsdp" and trainer.checkpoint_every:
        yield "`trainer.checkpoint_every`: under fsdp no checkpoint is saved; ddp does"


def of_optimizer(purpose: str, task: Task, optimizer: Optimizer) -> list[str]:
    """Return what should be known of an optimizer, made for a purpose, before it runs."""
    found = remarks(optimizer, within="optim.")
    if purpose != TRAINING and not isinstance(task, WithoutData):
        found.insert(
            0,
            f"`optim` is a recipe for {purpose}, and here it trains a network; "
            "`python -m xformopt` lists those for training",
        )
    return found
