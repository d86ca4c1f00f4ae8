"""All that a run needs to go on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from experiments.adversarial.contract import Adversarial

Weights = Mapping[str, Tensor]


@dataclass
class Judged:
    """The figures after a step."""

    step: int
    metrics: dict[str, float]


@dataclass
class Best(Judged):
    """Where the goal was best; `weights` are kept there, by the name of their average."""

    weights: dict[str, Weights]


@dataclass
class State:
    """What changes while a run goes on.

    `plain` is a model of the same shape, where the parameters of `model` are sharded; `average` is
    the model that `trainer.ema` keeps; `scaler` scales float16 gradients up; `adversarial` trains
    against attacks; `loss` is the sum over the `counted` steps since the evaluation before, the
    `last`; `stale` is the number of evaluations since the `best`; `target` is when the goal first
    came up to `trainer.target`.
    """

    model: nn.Module
    optimizer: Optimizer
    plain: nn.Module | None = None
    scheduler: LRScheduler | None = None
    average: AveragedModel | None = None
    scaler: GradScaler | None = None
    adversarial: Adversarial | None = None
    step: int = 0
    loss: Tensor | float = 0.0
    counted: int = 0
    seconds: float = 0.0
    last: Judged | None = None
    best: Best | None = None
    stale: int = 0
    target: dict[str, float] = field(default_factory=dict)
    watched: dict[str, bool] = field(default_factory=dict)
    """Whether a link has changed anything at the steps that were looked at."""


def copied(weights: Weights) -> Weights:
    """Return weights that share no memory, and are laid out as files hold them."""
    layout = torch.contiguous_format
    return {key: value.detach().clone(memory_format=layout) for key, value in weights.items()}
