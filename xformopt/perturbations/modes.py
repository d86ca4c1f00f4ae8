"""What a model is for a while: its parameters frozen, its modules in evaluation mode."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ContextDecorator, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xformopt.refused import RefusedType

Model = Callable[[Tensor], Tensor]
"""Gives the logits of images, `(N, classes)`: a module, or any function."""


def freeze(*items: Any) -> Callable[[], None]:
    """Set `requires_grad=False` on all tensors of some items; return what sets it back.

    Args:
        items: leaf tensors, modules, optimizers, and iterables of tensors or parameter groups.

    >>> layer = nn.Linear(2, 1)
    >>> unfreeze = freeze(layer)
    >>> layer.weight.requires_grad
    False
    >>> unfreeze()
    >>> layer.weight.requires_grad
    True
    """
    before = [(x, x.requires_grad) for item in items for x in _tensors(item)]
    for x, required in before:
        if required:
            x.requires_grad_(False)

    def unfreeze() -> None:
        for x, required in before:
            x.requires_grad_(required)

    return unfreeze


class frozen(ContextDecorator):
    """Freezes the tensors of some items within a block, or within a function that it decorates.

    >>> layer = nn.Linear(2, 1)
    >>> with frozen(layer):
    ...     layer.weight.requires_grad
    False
    """

    def __init__(self, *items: Any) -> None:
        """Take what `freeze` takes."""
        self.items = items

    def __enter__(self) -> None:
        """Freeze."""
        self._unfreeze = freeze(*self.items)

    def __exit__(self, *_: Any) -> None:
        """Set all back."""
        self._unfreeze()


class evaluating(ContextDecorator):
    """Puts models into evaluation mode within a block, or within a function that it decorates.

    Each of their modules is put back into the mode that it was in.

    >>> layer = nn.Dropout()
    >>> with evaluating(layer):
    ...     layer.training
    False
    >>> layer.training
    True
    """

    def __init__(self, *models: nn.Module) -> None:
        """Take the models."""
        self.models = models

    def __enter__(self) -> None:
        """Note the modes, and evaluate."""
        self._modes = [(m, m.training) for model in self.models for m in model.modules()]
        for model in self.models:
            model.eval()

    def __exit__(self, *_: Any) -> None:
        """Set all back."""
        for module, mode in self._modes:
            module.training = mode


def takes_float16(device: str) -> bool:
    """Return whether autocast is to float16, in which gradients of pixels become zero."""
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16


def without_float16(device: str) -> AbstractContextManager[Any]:
    """Return a context without autocast to float16."""
    return torch.autocast(device, enabled=False) if takes_float16(device) else nullcontext()


def negate(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives the negative of what another one gives.

    >>> negate(max)(1, 3)
    -3
    """

    @wraps(function)
    def negated(*args: Any, **kwargs: Any) -> Any:
        return -function(*args, **kwargs)

    return negated


def _tensors(item: Any) -> Iterator[Tensor]:
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, nn.Module):
        yield from item.parameters()
    elif isinstance(item, Optimizer):
        yield from _tensors(item.param_groups)
    elif isinstance(item, Mapping):
        yield from _tensors(item["params"])
    elif isinstance(item, Iterable):
        for part in item:
            yield from _tensors(part)
    else:
        raise RefusedType("items", "tensors, modules, optimizers or iterables of such", item)
