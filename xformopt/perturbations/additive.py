"""Perturbations of inputs, as modules whose parameters an optimizer moves."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from xformopt.refused import RefusedType


@runtime_checkable
class PerturbationModel(Protocol):
    """What perturbs data: it is called with them, and has parameters."""

    @abstractmethod
    def __call__(self, data: Tensor) -> Tensor:
        """Return the perturbed data, of the shape of `data`, which stay as they are."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Give what an optimizer moves."""
        ...


class AdditivePerturbation(nn.Module):
    """Adds a perturbation, its only parameter: x → x + δ.

    Args:
        data_or_shape: data whose shape, dtype and device δ takes, or a shape.
        init_fn: writes the start of δ in place; without one it is zero.
        device: that of δ, if not that of the data.
        dtype: that of δ, if not that of the data.
        delta_ndim: the number of dimensions of δ; below 0, so many fewer than the data have. With
            -1, the items of a batch share one perturbation, a universal one: take the mean of their
            losses, not the sum, and `param_ndim=None`, since δ has no batch dimension then.
        **init_fn_kwargs: settings of `init_fn`.

    >>> from functools import partial
    >>> data = torch.ones(3, 2)
    >>> universal = AdditivePerturbation(data, partial(nn.init.constant_, val=0.5), delta_ndim=-1)
    >>> universal.delta.shape
    torch.Size([2])
    >>> universal(data)[0]
    tensor([1.5000, 1.5000], grad_fn=<SelectBackward0>)

    Source: Moosavi-Dezfooli et al. 2017, Universal adversarial perturbations, CVPR, of universal
    ones; the behaviour is that of `rai_toolbox.perturbations`.
    """

    def __init__(
        self,
        data_or_shape: Tensor | Sequence[int],
        init_fn: Callable[..., Any] | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        delta_ndim: int | None = None,
        **init_fn_kwargs: Any,
    ) -> None:
        """Make δ, and write its start."""
        super().__init__()
        is_data = isinstance(data_or_shape, Tensor)
        shape = data_or_shape.shape if is_data else torch.Size(data_or_shape)
        if delta_ndim is not None:
            shape = shape[_left_out(delta_ndim, shape) :]
        if is_data:
            device, dtype = device or data_or_shape.device, dtype or data_or_shape.dtype
        self.delta = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        if init_fn is not None:
            init_fn(self.delta, **init_fn_kwargs)
        elif init_fn_kwargs:
            raise RefusedType("init_fn", "given beside its settings", init_fn_kwargs)

    def forward(self, data: Tensor) -> Tensor:
        """Return the perturbed data."""
        return data + self.delta


def _left_out(delta_ndim: int, shape: torch.Size) -> int:
    """Return how many of the first dimensions of the data δ has not."""
    left_out = len(shape) - delta_ndim if delta_ndim >= 0 else -delta_ndim
    if not isinstance(delta_ndim, int) or not 0 <= left_out <= len(shape):
        rule = f"an int from {-len(shape)} to {len(shape)}, for data of shape {tuple(shape)}"
        raise RefusedType("delta_ndim", rule, delta_ndim)
    return left_out
