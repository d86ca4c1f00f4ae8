"""Links run over buckets: like items of many parameters are one call of the transform."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors as flatten
from torch._utils import _unflatten_dense_tensors as unflatten
from torch.nn import Parameter

from xformopt.optim.batching import batch_shape, batched, dense_or_values, identity
from xformopt.optim.plans import Call, Columns, Plan, layout_of, make_plan
from xformopt.optim.sharded import Shards, is_sharded
from xformopt.transforms.link import INHERIT, Link

PLAIN = {Tensor, Parameter}
"""The types of tensors that can be gathered."""


class Buckets:
    """Runs links over parameter groups, by plans that are made once."""

    def __init__(self) -> None:
        """Start without plans."""
        self.plans: dict[tuple[str, int], Plan] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle no plans: they are made anew."""
        return {"plans": {}}

    def run(
        self,
        name: str,
        link: Link,
        group: Mapping[str, Any],
        state: Mapping[Tensor, Any],
        raw: Mapping[Tensor, Tensor],
        strict: bool,
    ) -> None:
        """Apply a link to the parameters of a group, with the settings that the group holds."""
        settings, param_ndim = group_settings(name, link, group)
        params = _taking_part(name, link, group, settings)
        if not params:
            return
        columns = _columns(name, link, params, state, raw)
        if torch.compiler.is_compiling():
            _run_plainly(name, link, params, columns, settings, (param_ndim, strict))
            return
        draws = link.transform.draws(settings)
        shards = None
        if not PLAIN.issuperset(map(type, params)) and any(map(is_sharded, params)):
            shards = Shards(link, columns, param_ndim, strict, draws)
            columns = shards.columns
        alone = draws or not PLAIN.issuperset(map(type, columns[0]))
        key, layout = (
            (name, id(group)),
            (alone, param_ndim, strict, *layout_of(link, params, columns)),
        )
        plan = self.plans.get(key)
        is_new = plan is None or plan.layout != layout
        if plan is None or is_new:
            shapes = [batch_shape(x.shape, param_ndim, strict) for x in columns[0]]
            plan = self.plans[key] = make_plan(layout, link, columns, shapes, alone)
        _run_as_they_are(name, link, columns, plan.as_they_are, settings, check=is_new)
        _run_foreach(name, link, columns, plan.foreach, settings)
        for call in plan.calls:
            chosen = [[column[i] for i in call.positions] for column in columns]
            if len(call.positions) > 1:
                _run_gathered(name, link, chosen, call, settings, check=is_new)
            else:
                _run_alone(name, link, [c[0] for c in chosen], call, settings, check=is_new)
        if shards:
            shards.write_back()


def run_optimizer_link(name: str, link: Link, groups: list[Any]) -> None:
    """Apply a link of scope 'optimizer' to all gradients at once."""
    settings, _ = group_settings(name, link, groups[0])
    params = [p for group in groups for p in group["params"]]
    grads = [dense_or_values(p) for p in params if p.grad is not None and p.numel()]
    if grads:
        _call(name, link, [grads], settings, check=False)


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


def _taking_part(
    name: str, link: Link, group: Mapping[str, Any], settings: dict[str, Any]
) -> list[Tensor]:
    """Return the parameters that a link acts on; it is done with those of sparse gradient."""
    if "grad" not in link.transform.tensors:
        return [p for p in group["params"] if p.numel()]
    params = [p for p in group["params"] if p.grad is not None and p.numel()]
    sparse = [p for p in params if p.grad.is_sparse]
    for p in sparse:
        values = _sparse_values(p, link)
        _call(name, link, [values.view(-1, 1)], settings, check=True)
    return [p for p in params if not p.grad.is_sparse] if sparse else params


def _columns(
    name: str,
    link: Link,
    params: list[Tensor],
    state: Mapping[Tensor, Any],
    raw: Mapping[Tensor, Tensor],
) -> Columns:
    given = {
        "param": lambda: params,
        "grad": lambda: [p.grad for p in params],
        "raw_grad": lambda: [raw[p] for p in params],
    }
    columns: list[Any] = [given[tensor]() for tensor in link.transform.tensors]
    if link.transform.state:
        buffers = [link_buffers(name, link, p, state) for p in params]
        columns.extend([list(column) for column in zip(*buffers, strict=True)])
    return columns


def _run_plainly(
    name: str,
    link: Link,
    params: list[Tensor],
    columns: Columns,
    settings: dict[str, Any],
    seen: tuple[int | None, bool],
) -> None:
    """Call the transform for one parameter after the other, for a compiler to fuse."""
    for p, *tensors in zip(params, *columns, strict=True):
        shape = batch_shape(p.shape, *seen)
        batches = [x.reshape(shape) if x.numel() == prod(shape) else x for x in tensors]
        link.transform.fn(*batches, **settings)
        for x, batch in zip(tensors, batches, strict=True):
            if not x.is_contiguous():
                x.copy_(batch.view(x.shape))


def _run_alone(
    name: str,
    link: Link,
    tensors: list[Tensor],
    call: Call,
    settings: dict[str, Any],
    *,
    check: bool,
) -> None:
    """Call the transform for one parameter; on the CPU in slabs of items that its caches hold."""
    with batched(*tensors, shape=call.shape) as batches:
        if not call.slab:
            _call(name, link, batches, settings, check)
            return
        for slab in zip(*(batch.split(call.slab) for batch in batches), strict=True):
            _call(name, link, list(slab), settings, check)


def _run_gathered(
    name: str,
    link: Link,
    columns: Columns,
    call: Call,
    settings: dict[str, Any],
    *,
    check: bool,
) -> None:
    """Call the transform for several parameters at once, and write back what it may have changed.

    A tensor that it only reads is written back where its version says that it was changed all the
    same; a write through `.data` or `.numpy()` leaves no such trace.
    """
    only_read = range(1, len(link.transform.tensors))
    gathered = [k not in link.transform.counters for k in range(len(columns))]
    batches = [
        _gather(column, call) if whole else column[0]
        for column, whole in zip(columns, gathered, strict=True)
    ]
    versions = [batch._version for batch in batches]
    _call(name, link, batches, settings, check)
    for k, (column, batch) in enumerate(zip(columns, batches, strict=True)):
        if k in only_read and batch._version == versions[k]:
            continue
        if not gathered[k]:
            torch.ops.aten._foreach_copy_(column[1:], [batch] * (len(column) - 1))
        elif call.sizes:
            whole = batch.view(-1, *column[0].shape[1:])
            torch.split_with_sizes_copy(whole, call.sizes, out=column)
        else:
            torch.ops.aten._foreach_copy_(column, list(unflatten(batch.view(-1), column)))


def _gather(column: list[Tensor], call: Call) -> Tensor:
    return (torch.cat(column) if call.sizes else flatten(column)).view(call.shape)


def _run_as_they_are(
    name: str,
    link: Link,
    columns: Columns,
    positions: list[int],
    settings: dict[str, Any],
    *,
    check: bool,
) -> None:
    """Call the transform for one parameter after the other, with nothing to reshape."""
    if check:
        for i in positions:
            _call(name, link, [column[i] for column in columns], settings, check)
        return
    fn = link.transform.fn
    try:
        for tensors in zip(*_chosen(columns, positions), strict=True):
            fn(*tensors, **settings)
    except Exception as error:
        error.add_note(f"in the transform `{name}`, which is {link}")
        raise


def _run_foreach(
    name: str, link: Link, columns: Columns, positions: list[int], settings: dict[str, Any]
) -> None:
    """Call the transform's multi-tensor form once."""
    if not positions:
        return
    assert link.transform.foreach
    try:
        link.transform.foreach(*_chosen(columns, positions), **settings)
    except Exception as error:
        error.add_note(f"in the transform `{name}`, which is {link}")
        raise


def _chosen(columns: Columns, positions: list[int]) -> Columns:
    if len(positions) == len(columns[0]):
        return columns
    return [[column[i] for i in positions] for column in columns]


def _call(name: str, link: Link, tensors: list[Any], settings: dict[str, Any], check: bool) -> None:
    """Call the transform; a new plan checks that it writes in place and nothing else."""
    first = tensors[0]
    before = identity(first) if check and isinstance(first, Tensor) else None
    try:
        returned = link.transform.fn(*tensors, **settings)
    except Exception as error:
        error.add_note(f"in the transform `{name}`, which is {link}")
        raise
    if returned is None and before and identity(first) != before:
        returned = first
    if returned is not None:
        shape = tuple(before[1] if before else ())
        raise ValueError(
            f"transform `{link.transform.name}` must write to `{link.transform.target}` in place "
            f"and return nothing, for a batch of shape {shape}; it returned or replaced it by a "
            f"{type(returned).__name__}"
        )


def _sparse_values(param: Tensor, link: Link) -> Tensor:
    transform = link.transform
    if transform.elementwise and transform.tensors == ("grad",) and not transform.state:
        return dense_or_values(param)
    raise ValueError(
        f"transform `{link.transform.name}` cannot act on the sparse gradient of a parameter of "
        f"shape {tuple(param.shape)}: only stateless elementwise ones such as `sign` can; put the "
        "parameter under another optimizer, or make its gradient dense"
    )
