"""The buffers of links: how they are made, in what precision, and where they stand meanwhile."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from xformopt.optim.batching import item_ndim
from xformopt.optim.bound import Bound
from xformopt.optim.sharded import beside_shards, is_sharded
from xformopt.refused import Refused
from xformopt.transforms.buffers import ENTRIES, Buffer
from xformopt.transforms.definition import Transform
from xformopt.transforms.items import at_least_float32

Columns = list[list[Tensor]]


def buffers_of(
    bound: Bound, param: Tensor, state: Mapping[Tensor, Any], param_ndim: int | None, strict: bool
) -> list[Tensor]:
    """Return the buffers of a link for a parameter, made where they are not there yet."""
    held = state[param].setdefault(bound.name, {})
    if len(held) < len(bound.transform.state):
        like = param.detach().to(_buffer_dtype(bound, param))
        item_dims = item_ndim(param.shape, param_ndim, strict)
        for key, declared in bound.transform.state.items():
            if key not in held:
                held[key] = _begun(bound, key, declared, like, item_dims)
    return [held[key] for key in bound.transform.state]


def check_buffers(bound: Bound, columns: Columns, param_ndim: int | None, strict: bool) -> None:
    """Refuse buffers that were made for other items than those that they are given with."""
    own = columns[len(bound.transform.tensors) :]
    for (key, declared), column in zip(bound.transform.state.items(), own, strict=True):
        if declared.kind != "item":
            continue
        for x, held in zip(columns[0], column, strict=True):
            wanted = declared.kept_as(x.shape, item_ndim(x.shape, param_ndim, strict))
            if held.shape != wanted:
                raise Refused(
                    f"the buffer `{bound.name}.{key}` was made for other items: its shape is "
                    f"{tuple(held.shape)}, where `param_ndim={param_ndim}` needs {wanted}; set "
                    "`param_ndim` back, or take the buffer out of the state"
                )


def _begun(bound: Bound, key: str, declared: Buffer, like: Tensor, item_dims: int) -> Tensor:
    if declared.kind == "item" and is_sharded(like):
        return beside_shards(like, declared.kept_as(like.shape, item_dims), like.ndim - item_dims)
    made = declared.begun(like, item_dims)
    if declared.kind == "entries" and getattr(made, "shape", None) != like.shape:
        got = tuple(made.shape) if isinstance(made, Tensor) else repr(made)
        raise Refused(
            f"the buffer `{key}` of transform `{bound.transform.name}` must have the shape "
            f"{tuple(like.shape)} of the parameter, got {got}; declare one in a shape of its own "
            f"for each item, `state={{'{key}': PerItem(lambda d: …)}}`"
        )
    return made


def _as_kept(bound: Bound, param: Tensor, buffers: Mapping[str, Any]) -> dict[str, Any]:
    """Return buffers where a link keeps them, and in its dtype; counters have their own."""
    dtype, kept = _buffer_dtype(bound, param), {}
    for key, x in buffers.items():
        declared = bound.transform.state.get(key, ENTRIES)
        is_cast = x.is_floating_point() and not declared.is_counter
        kept[key] = x.to(declared.device(param), dtype if is_cast else x.dtype)
    return kept


def _buffer_dtype(bound: Bound, param: Tensor) -> torch.dtype:
    """Return the dtype of a link's buffers: at least float32 where nothing else is asked for."""
    if bound.state_dtype is None:
        return at_least_float32(param.dtype)
    return param.dtype if bound.state_dtype == "param" else bound.state_dtype


class Precise:
    """Columns in one dtype, the widest of a gradient and its buffers; written back at the end.

    A bfloat16 gradient beside float32 buffers is transformed in float32.
    """

    def __init__(self, transform: Transform, columns: Columns) -> None:
        """Convert what is of another dtype; counters stay as they are."""
        self.columns, self.pairs = columns, []
        sized = [c for k, c in enumerate(columns) if k not in transform.counters]
        if transform.state and _differ(sized):
            self.columns = [list(column) for column in columns]
            for i, tensors in enumerate(zip(*sized, strict=True)):
                self._widen(i, tensors, transform.counters)

    def _widen(self, i: int, tensors: tuple[Tensor, ...], counters: list[int]) -> None:
        dtype = tensors[0].dtype
        for x in tensors:
            dtype = torch.promote_types(dtype, x.dtype)
        for k, column in enumerate(self.columns):
            if k not in counters and column[i].dtype != dtype:
                wide = column[i].to(dtype)
                self.pairs.append((column[i], wide))
                column[i] = wide

    def __enter__(self) -> Columns:
        """Return the columns."""
        return self.columns

    def __exit__(self, *_: Any) -> None:
        """Write back what was converted."""
        for narrow, wide in self.pairs:
            narrow.copy_(wide)


def _differ(columns: Columns) -> bool:
    first, *others = columns
    return any(x.dtype != first[i].dtype for column in others for i, x in enumerate(column))


class LinkState:
    """Keeps link buffers out of `state[p]` until the inner optimizer has state of its own there.

    torch's optimizers initialise their state where `len(state[p]) == 0`; a buffer of ours, put
    there before the first step, would make Adam fail.
    """

    def __init__(self, chain: Mapping[str, Bound]) -> None:
        """Note which keys of `state[p]` are the links'."""
        self.bounds = {name: bound for name, bound in chain.items() if bound.transform.state}
        self.keys = set(self.bounds)
        self.hidden: dict[Tensor, dict[str, Any]] = {}

    def take(self, groups: Iterable[Any], state: Mapping[Tensor, Any]) -> None:
        """Bring buffers that were loaded where the links keep them, and into their dtype."""
        for group in groups if self.keys else ():
            for p in group["params"]:
                for name in self.keys & state.get(p, {}).keys():
                    state[p][name] = _as_kept(self.bounds[name], p, state[p][name])

    def hide(self, groups: Iterable[Any], state: dict[Tensor, dict[str, Any]]) -> None:
        """Take out the entries of these groups' parameters that hold link buffers alone."""
        for group in groups if self.keys else ():
            for p in group["params"]:
                entry = state.get(p)
                if entry and entry.keys() <= self.keys:
                    self.hidden[p] = state.pop(p)

    def show(self, state: dict[Tensor, dict[str, Any]]) -> None:
        """Put back what `hide` took out."""
        for p, entry in self.hidden.items():
            clash = state.get(p, {}).keys() & entry.keys()
            if clash:
                raise Refused(
                    f"the links {sorted(clash)} are called as the inner optimizer calls buffers of "
                    "its own; name them otherwise: `transforms={'my_name': …}`"
                )
            state[p] = {**state.get(p, {}), **entry}
        self.hidden.clear()
