"""One training step: loss and gradient of a batch, in the precision of the run; then the update."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from experiments.data.batches import at_least_one, bounds
from experiments.run import against
from experiments.run.parts import Parts
from experiments.run.ranks import drawing_apart, mean, ranks
from experiments.run.trainer import Trainer

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What the precisions compute in, beside float32."""


def step(parts: Parts) -> None:
    """Make one step of the model, its schedule and its average, and count it."""
    state = parts.state
    batch = parts.batches.at(_number(parts)) if parts.batches else None

    def closure() -> Any:
        state.optimizer.zero_grad()
        with drawing_apart(parts.seed, state.step):
            loss = _backward(parts, batch)
        return mean(loss)

    if state.scaler is None:
        loss: Any = state.optimizer.step(closure)
        made = True
    else:
        loss = closure()
        made = _scaled(state.scaler, state.optimizer)
    if made and state.scheduler is not None:
        state.scheduler.step()
    if state.average is not None:
        state.average.update_parameters(state.model)
    state.loss, state.counted = state.loss + loss.detach(), state.counted + 1
    state.step += 1


def precision(trainer: Trainer, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which the model is called."""
    dtype = DTYPES[trainer.precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


def _backward(parts: Parts, batch: Any) -> Tensor:
    """Leave the gradient of the loss of a batch; return the loss, over its pieces."""
    scaler, losses = parts.state.scaler, []
    weight = parts.batches.weight(_number(parts)) if parts.batches else 1.0
    numbers = against.drawn(parts)
    for piece, share in _pieces(batch, parts.trainer.accumulate):
        with precision(parts.trainer, parts.device):
            loss = _scalar(against.loss(parts, piece, numbers))
            loss = loss if share * weight == 1.0 else loss * (share * weight)
        (loss if scaler is None else scaler.scale(loss)).backward()
        losses.append(loss.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _number(parts: Parts) -> int:
    """Return which batch a step takes: the same at several, where it is replayed."""
    return parts.state.step // parts.trainer.replays


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else loss
        raise TypeError(f"`loss` of the task must return a scalar with a gradient, got {shape}")
    return loss


def _scaled(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Make a step by gradients that were scaled up; return False where one of them overflowed."""
    before = scaler.get_scale()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return scaler.get_scale() >= before


def _pieces(batch: Any, count: int) -> Iterator[tuple[Any, float]]:
    """Give a batch in so many pieces, and their shares of it.

    Where there are fewer images, pieces are left out; of several ranks, which must go together, one
    gives an image again, with a share of 0.
    """
    if count == 1:
        yield batch, 1.0
        return
    images, labels = batch
    total = len(labels)
    for i in range(count):
        begin, end = bounds(total, i, count)
        if begin < end or ranks() > 1:
            piece = at_least_one(total, i, count)
            yield (images[piece], labels[piece]), (end - begin) / total
