"""The scale of float16 gradients."""

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from experiments.run.trainer import Trainer
from xformopt.optim import parts_of
from xformopt.optim.stepping import evaluates_once
from xformopt.refused import Refused


def scaler(trainer: Trainer, optimizer: Optimizer, device: torch.device) -> GradScaler | None:
    """Return what scales float16 gradients, around optimizers that take them once a step."""
    if trainer.precision != "fp16":
        return None
    if trainer.strategy == "fsdp":
        raise Refused("trainer.precision", "fp32 or bf16 under fsdp", trainer.precision)
    several = taking_several(optimizer)
    if several:
        rule = f"fp32 or bf16 under {several}, which may take several gradients a step"
        raise Refused("trainer.precision", rule, trainer.precision)
    return GradScaler(device.type)


def taking_several(optimizer: Optimizer) -> str:
    """Return the class of an inner optimizer that may take several gradients a step, or ""."""
    inner = [getattr(part, "inner_opt", part) for part in parts_of(optimizer).values()]
    return next((type(opt).__name__ for opt in inner if not evaluates_once(type(opt))), "")
