"""The one place that reshapes: tensors seen as batches of items, and links run over them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor

from xformopt.transforms.link import INHERIT, Link, check_param_ndim


def item_ndim(shape: torch.Size, param_ndim: int | None, strict_ndim: bool = True) -> int:
    """Return how many trailing dimensions of `shape` make one item; see `to_batch`."""
    check_param_ndim(param_ndim)
    ndim = len(shape)
    if param_ndim is None:
        return ndim
    if abs(param_ndim) > ndim:
        if not strict_ndim:
            return ndim
        raise ValueError(
            f"`param_ndim={param_ndim}` needs at least {abs(param_ndim)} dimensions, got a "
            f"parameter of shape {tuple(shape)}; give it a group with another `param_ndim`, or "
            "pass `strict_ndim=False` to take such parameters as one whole item"
        )
    return param_ndim if param_ndim >= 0 else ndim + param_ndim


def batch_shape(
    shape: torch.Size, param_ndim: int | None, strict_ndim: bool = True
) -> tuple[int, ...]:
    """Return the shape `(N, *d)` in which a tensor of `shape` is seen; see `to_batch`."""
    split = len(shape) - item_ndim(shape, param_ndim, strict_ndim)
    return (prod(shape[:split]), *(shape[split:] or (1,)))


def to_batch(x: Tensor, param_ndim: int | None, *, strict_ndim: bool = True) -> Tensor:
    """Return `x`, and its gradient, seen as a batch of items of `param_ndim` dimensions.

    Shape `(d0, …, dn)` becomes `(N, *d)`, where `d` are the last `param_ndim` dimensions, at least
    one of them. A negative `param_ndim` counts from `x.ndim`; None takes `x` as one item. The
    result shares memory with `x` where its layout allows a view, and is a copy elsewhere.

    Args:
        x: a tensor of any shape.
        param_ndim: the number of dimensions of an item.
        strict_ndim: whether `abs(param_ndim) > x.ndim` is an error, or makes `x` one whole item.

    Raises:
        ValueError: where `x` has too few dimensions.

    >>> x = torch.zeros(3, 5, 2)
    >>> [tuple(to_batch(x, n).shape) for n in (0, 1, 2, 3, None, -1, -2, -3)]
    [(30, 1), (15, 2), (3, 5, 2), (1, 3, 5, 2), (1, 3, 5, 2), (3, 5, 2), (15, 2), (30, 1)]
    """
    shape = batch_shape(x.shape, param_ndim, strict_ndim)
    batch = x.detach().reshape(shape)
    if x.grad is not None and x.grad.layout == torch.strided:
        batch.grad = x.grad.reshape(shape)
    return batch


def shares_memory(x: Tensor, y: Tensor) -> bool:
    """Return whether a reshaped tensor is a view; a compiler, which has no addresses, guesses."""
    if torch.compiler.is_compiling():
        return x.is_contiguous()
    return x.data_ptr() == y.data_ptr()


@contextmanager
def batched(*tensors: Tensor, shape: tuple[int, ...]) -> Iterator[list[Tensor]]:
    """Give the tensors in `shape`; what was copied because no view was possible is written back.

    Tensors with another number of entries, such as counters, are given as they are.
    """
    batches = [x.reshape(shape) if x.numel() == prod(shape) else x for x in tensors]
    versions = [batch._version for batch in batches]
    yield batches
    for x, batch, version in zip(tensors, batches, versions, strict=True):
        if batch._version != version and not shares_memory(x, batch):
            x.copy_(batch.view(x.shape))


@contextmanager
def hook_view(param: Tensor, group: Mapping[str, Any], strict: bool, hook: str) -> Iterator[Tensor]:
    """Give a hook its batch view of `param` and the gradient, and check that it wrote in place."""
    shape = batch_shape(param.shape, group["param_ndim"], strict)
    grad = param.grad if param.grad is not None and param.grad.layout == torch.strided else None
    tensors = [param.detach()] if grad is None else [param.detach(), grad]
    with batched(*tensors, shape=shape) as batches:
        view = batches[0]
        before = [_identity(x) for x in batches]
        if grad is not None:
            view.grad = batches[1]
        yield view
        if _identity(view) != before[0]:
            raise ValueError(
                f"`{hook}` changed shape, dtype or memory of `param`, from {shape} to "
                f"{tuple(view.shape)}; write to it, e.g. `param.copy_(new)`"
            )
        if grad is not None and (view.grad is None or _identity(view.grad) != before[1]):
            raise ValueError(
                f"`{hook}` did not modify the gradient in place: `param.grad` is another tensor "
                "now; write to it, e.g. `param.grad.copy_(new)`"
            )


def run_link(
    name: str,
    link: Link,
    group: Mapping[str, Any],
    state: Mapping[Tensor, Any],
    raw: Mapping[Tensor, Tensor],
    strict: bool,
) -> None:
    """Apply a link to each parameter of a group, with the settings that the group holds."""
    settings, param_ndim = group_settings(name, link, group)
    for param in group["params"]:
        if not takes_part(param, link):
            continue
        if param.grad is not None and param.grad.is_sparse and "grad" in link.transform.tensors:
            grad = _sparse_values(param, link)
            shape = (grad.numel(), 1)
        else:
            grad = param.grad
            shape = batch_shape(param.shape, param_ndim, strict)
        given = {"param": param.detach(), "grad": grad, "raw_grad": raw.get(param)}
        tensors: list[Any] = [given[t] for t in link.transform.tensors]
        tensors += link_buffers(name, link, param, state)
        with batched(*tensors, shape=shape) as batches:
            before = _identity(batches[0])
            _check_result(link, _called(name, link, batches, settings), shape)
            if _identity(batches[0]) != before:
                _check_result(link, batches[0], shape)


def run_optimizer_link(name: str, link: Link, groups: list[Any]) -> None:
    """Apply a link of scope 'optimizer' to all gradients at once."""
    settings, _ = group_settings(name, link, groups[0])
    params = [p for group in groups for p in group["params"] if takes_part(p, link)]
    if params:
        grads = [dense_or_values(p) for p in params]
        returned = _called(name, link, [grads], settings)
        _check_result(link, returned, tuple(params[0].shape))


def _called(name: str, link: Link, tensors: list[Any], settings: dict[str, Any]) -> Any:
    try:
        return link.transform.fn(*tensors, **settings)
    except Exception as error:
        error.add_note(f"in the transform `{name}`, which is {link}")
        raise


def takes_part(param: Tensor, link: Link) -> bool:
    """Return whether a link acts on a parameter as it is now."""
    reads_grad = link.transform.tensors != ("param",)
    return param.numel() > 0 and not (param.grad is None and reads_grad)


def group_settings(name: str, link: Link, group: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the settings of a link in a group, and its `param_ndim`."""
    settings = {key: group[f"{name}.{key}"] for key in link.settings}
    param_ndim = settings.pop("param_ndim")
    settings.update(link.resources)
    link.transform.check(settings)
    return settings, group["param_ndim"] if param_ndim == INHERIT else param_ndim


def link_buffers(name: str, link: Link, param: Tensor, state: Mapping[Tensor, Any]) -> list[Tensor]:
    """Return the buffers of a link for a parameter, made where they are not there yet."""
    if not link.transform.state:
        return []
    held = state[param].setdefault(name, {})
    for key, initialise in link.transform.state.items():
        if key not in held:
            held[key] = initialise(param.detach())
    return [held[key] for key in link.transform.state]


def dense_or_values(param: Tensor) -> Tensor:
    """Return the gradient of `param`; of a sparse one, coalesced, the values."""
    grad = param.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    if not grad.is_coalesced():
        grad = param.grad = grad.coalesce()
    return grad._values()


def _sparse_values(param: Tensor, link: Link) -> Tensor:
    transform = link.transform
    if transform.elementwise and transform.tensors == ("grad",) and not transform.state:
        return dense_or_values(param)
    raise ValueError(
        f"transform `{link.transform.name}` cannot act on the sparse gradient of a parameter of "
        f"shape {tuple(param.shape)}: only stateless elementwise ones such as `sign` can; put the "
        "parameter under another optimizer, or make its gradient dense"
    )


def _check_result(link: Link, returned: Any, shape: tuple[int, ...]) -> None:
    if returned is not None:
        raise ValueError(
            f"transform `{link.transform.name}` must write to `{link.transform.target}` in place "
            f"and return nothing, for a batch of shape {shape}; it returned or replaced it by a "
            f"{type(returned).__name__}"
        )


def _identity(x: Tensor) -> tuple[Any, ...]:
    address = 0 if torch.compiler.is_compiling() else x.data_ptr()
    return address, x.shape, x.dtype, x.stride()
