"""The processes of a run, if `torchrun` or submitit starts several: each trains on a share."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.data.draws import generator
from xformopt.optim.sharded import is_sharded
from xformopt.refused import Refused

Strategy = Literal["none", "ddp", "fsdp"]
HOW = "`torchrun --nproc-per-node=2 …` starts two processes, and so does submitit with two tasks"

SUBMITTED = "SUBMITIT_EXECUTOR"
"""What submitit leaves in the environment."""

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process; the first, 0, shows and keeps what a run gives."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Return the number of processes of a run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_device(name: str) -> torch.device:
    """Return the device of this process among those of a machine that it sees."""
    if name != "cuda" or ranks() == 1:
        return torch.device(name)
    own, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if count == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:  # as where Slurm gives each its own
        own = 0
    if own >= count:
        raise Refused("device", "a GPU for each process of a machine", f"cuda, of which {count}")
    return torch.device(name, own)


def check_strategy(strategy: Strategy) -> None:
    """Refuse a strategy for several processes without any, and several without a strategy."""
    if strategy == "none" and ranks() > 1:
        rule = f"ddp or fsdp, where {ranks()} processes run"
        raise Refused("trainer.strategy", rule, strategy)
    if strategy != "none" and not dist.is_initialized():
        raise Refused("trainer.strategy", "none for a single process", strategy, HOW)


def replicated(model: nn.Module, strategy: Strategy) -> nn.Module:
    """Return what is called in training: under ddp, what averages the gradients of all ranks."""
    return DistributedDataParallel(model) if strategy == "ddp" else model


def shard(model: nn.Module) -> None:
    """Let each rank hold a share of every parameter, gathered layer by layer.

    Layers are what stands in a `Sequential`, which calls what it holds; the rest is one more.
    """
    from torch.distributed.fsdp import fully_shard

    for module in reversed([*model.modules()]):
        for layer in module if isinstance(module, nn.Sequential) else ():
            if next(layer.parameters(), None) is not None:
                fully_shard(layer)
    fully_shard(model)


def whole(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return weights of which each is whole on each rank."""
    return {k: v.full_tensor() if is_sharded(v) else v for k, v in weights.items()}


def mean(loss: Tensor) -> Tensor:
    """Return the mean over all ranks."""
    if ranks() > 1:
        dist.all_reduce(loss)
        loss = loss / ranks()
    return loss


def of_first(value: T) -> T:
    """Return the value of the first rank, so that all ranks choose alike."""
    if ranks() == 1:
        return value
    held: list[Any] = [value]
    dist.broadcast_object_list(held)
    return held[0]


@contextmanager
def drawing_apart(seed: int, step: int) -> Iterator[None]:
    """Draw numbers of a rank's own within, and the same on all ranks from then on.

    Dropout within draws for each rank; links draw thereafter, by which ranks must not differ.
    """
    if ranks() == 1:
        yield
        return
    torch.manual_seed(generator(seed, "forward", step, rank()).initial_seed())
    yield
    torch.manual_seed(generator(seed, "update", step).initial_seed())
