"""Batch norm under several processes: by the moments of the whole batch, as one process has it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm


def with_moments_of_all(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a model whose batch norms take the moments of all ranks; torch's own is for CUDA."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = WholeBatchNorm
    return model


class WholeBatchNorm(_BatchNorm):
    """Normalises by mean and variance of the shares of all ranks together.

    Source: Peng et al. 2018, MegDet: a large mini-batch object detector.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take what the class took that was here."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the images normalised; each channel is of mean 0 and variance 1 over all ranks."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        others = [d for d in range(values.ndim) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(values.ndim)]
        count = summed(values.new_tensor(values.numel() / values.shape[1]))
        mean = summed(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance = summed(centred.square().sum(others)) / count
        self._note(mean.detach(), (variance * count / (count - 1)).detach())
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        normalised = centred * scale.view(shape)
        if self.affine:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(input.dtype)

    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running moments, by which the network is judged."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


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
