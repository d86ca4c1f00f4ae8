"""Batch norm under several processes: by the moments of the whole batch, as one process has it."""

from functools import cache
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from xformopt.transforms.items import at_least_float32


def take_moments_of_all(model: nn.Module) -> None:
    """Let the batch norms of a model take the moments of all ranks; torch's `SyncBatchNorm` does.

    That one is for CUDA alone, and drops what a class of the user's adds to its own.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            module.__class__ = _whole(type(module))


class WholeBatchNorm(_BatchNorm):
    """Normalises by mean and variance of the shares of all ranks together.

    Source: Peng et al. 2018, MegDet: a large mini-batch object detector.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the images normalised; each channel is of mean 0 and variance 1 over all ranks."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        values = input.to(at_least_float32(input.dtype))
        others = [d for d in range(values.ndim) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(values.ndim)]
        count = summed(values.new_tensor(values.numel() / values.shape[1]))
        mean = summed(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance = summed(centred.square().sum(others)) / count
        self._note(mean.detach(), (variance * count / (count - 1)).detach())
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normalised = centred * scale.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(input.dtype)

    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running moments, by which the network is judged."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / self.num_batches_tracked if share is None else share
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            running.lerp_(new.to(running.dtype), 0.0 if share is None else share)


@cache
def _whole(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    """Return a class of batch norms with ours behind it, in the place of torch's own."""
    ours: Any = WholeBatchNorm
    return type(kind.__name__, (kind, ours), {})


def summed(own: Tensor) -> Tensor:
    """Return the sum over all ranks, through which each is differentiated."""
    return _Summed.apply(own)


class _Summed(Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return summed(*grad_outputs)
