"""The average of the weights that the trainer keeps, beside those that links keep."""

from collections.abc import Collection

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.run.judging import EMA
from experiments.run.trainer import Trainer
from xformopt.refused import Refused


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
