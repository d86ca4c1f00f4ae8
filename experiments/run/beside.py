"""What stands beside model and optimizer: an average of the weights, a scale of gradients."""

from collections.abc import Collection

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.run.judging import EMA
from experiments.run.trainer import Trainer
from xformopt.optim import parts_of
from xformopt.optim.stepping import evaluates_once
from xformopt.refused import Refused


def scaler(trainer: Trainer, optimizer: Optimizer, device: torch.device) -> GradScaler | None:
    """Return what scales float16 gradients, around optimizers that take them once a step."""
    if trainer.precision != "fp16":
        return None
    inner = [getattr(part, "inner_opt", part) for part in parts_of(optimizer).values()]
    if trainer.strategy == "fsdp":
        raise Refused("trainer.precision", "fp32 or bf16 under fsdp", trainer.precision)
    several = next((type(opt).__name__ for opt in inner if not evaluates_once(type(opt))), None)
    if several:
        rule = f"fp32 or bf16 under {several}, which may take several gradients a step"
        raise Refused("trainer.precision", rule, trainer.precision)
    return GradScaler(device.type)


def average(trainer: Trainer, model: nn.Module) -> AveragedModel | None:
    """Return the average of the weights of `trainer.ema`."""
    if trainer.ema is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(trainer.ema), use_buffers=True)


def check_averages(trainer: Trainer, kept: Collection[str]) -> None:
    """Refuse averages of weights that have the same name, or would have to be gathered."""
    if trainer.ema is not None and EMA in kept:
        raise Refused("trainer.ema", f"null beside a link of the name `{EMA}`", trainer.ema)
    if trainer.strategy == "fsdp" and (trainer.ema is not None or kept):
        rule = f"ddp beside an average of the weights, {EMA if trainer.ema else next(iter(kept))}"
        raise Refused("trainer.strategy", rule, trainer.strategy)
