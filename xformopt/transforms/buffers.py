"""The buffers of a transform: like the parameter, one for each item, or a counter of steps."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from xformopt.refused import Refused, RefusedType

Shape = tuple[int, ...]
StateInit = Callable[[Tensor], Tensor]


class PerItem(NamedTuple):
    """A buffer of zeros for each item, in a shape of its own.

    A transform is given it as `(N, *shape(d))` beside a batch tensor of shape `(N, *d)`.
    """

    shape: Callable[[Shape], Shape]


SCALAR = PerItem(lambda d: (1,) * len(d))
"""One number an item, which broadcasts over it."""

ROWS = PerItem(lambda d: (d[0],) + (1,) * (len(d) - 1))
"""One number for each row of an item as a matrix, which broadcasts over it."""

LONGEST = 4096
"""The most rows or columns of an item for which a square matrix is kept."""


def _square(d: Shape, length: int) -> Shape:
    return (length, length) if len(d) > 1 and length <= LONGEST else (0, 0)


LEFT = PerItem(lambda d: _square(d, d[0]))
"""A square matrix that an item as a matrix, `(d1, d2·d3·…)`, may be multiplied by from the left.

It is empty for vectors, and for items of more rows than are kept.
"""

RIGHT = PerItem(lambda d: _square(d, prod(d[1:])))
"""One that it may be multiplied by from the right."""

Counter = Literal["counter", "host_counter"]
"""A count of steps, beside the parameter, or always on the CPU, where it can be asked about."""

State = tuple[str, ...] | Mapping[str, StateInit | PerItem | Counter]
"""The buffers of a transform: names, for zeros, or what makes each from the parameter."""


class Buffer(NamedTuple):
    """A buffer as it is declared."""

    kind: Literal["entries", "item"] | Counter
    """Whether it has the shape of the parameter, one of its own for each item, or none."""
    initialise: StateInit | None = None
    shape: Callable[[Shape], Shape] | None = None

    def begun(self, like: Tensor, item_dims: int) -> Tensor:
        """Return it as it begins beside a tensor whose last dimensions make an item."""
        if self.is_counter:
            return torch.zeros((), dtype=torch.float32, device=self.device(like))
        if self.initialise:
            return self.initialise(like)
        return like.new_zeros(self.kept_as(like.shape, item_dims))

    @property
    def is_counter(self) -> bool:
        """Whether it counts steps, in one number for a parameter."""
        return self.kind in get_args(Counter)

    def device(self, like: Tensor) -> torch.device:
        """Return where it is kept."""
        return torch.device("cpu") if self.kind == "host_counter" else like.device

    def kept_as(self, shape: torch.Size, item_dims: int) -> Shape:
        """Return the shape in which it is kept: that of the leading dimensions, and an item's."""
        if not self.shape:
            return tuple(shape)
        split = len(shape) - item_dims
        return (*shape[:split], *self.shape(tuple(shape[split:]) or (1,)))

    def seen_as(self, batch: Shape) -> Shape | None:
        """Return the shape in which a transform is given it; None for as it is."""
        if self.shape:
            return (batch[0], *self.shape(batch[1:]))
        return batch if self.kind == "entries" else None


ENTRIES = Buffer("entries")
"""What the tensors beside the buffers are: of the shape of the parameter."""


def buffers(owner: str, state: State) -> dict[str, Buffer]:
    """Return the buffers that a transform declares."""
    if isinstance(state, str):
        says = f"`state` of `{owner}` must be a tuple of names or a mapping, got {state!r}; write "
        raise RefusedType(says + f"`state=({state!r},)`")
    if not isinstance(state, Mapping):
        return {name: Buffer("entries", torch.zeros_like) for name in state}
    made = {name: _buffer(f"`{name}` of `{owner}`", held) for name, held in state.items()}
    for name, held in made.items():
        if held.is_counter and name != "step":
            raise Refused(f"a counter must be named `step`, which torch loads as it is: {name}")
    return made


def _buffer(name: str, declared: StateInit | PerItem | Counter) -> Buffer:
    if isinstance(declared, PerItem):
        for item in ((3,), (3, 2), (3, 2, 4)):
            _check_shape(name, declared, item)
        return Buffer("item", shape=declared.shape)
    if callable(declared):
        return Buffer("entries", declared)
    if declared not in get_args(Counter):
        rule = "a function of the parameter, `PerItem(…)`, 'counter' or 'host_counter'"
        raise RefusedType(f"the buffer {name} must be {rule}, got {declared!r}")
    return Buffer(declared)


def _check_shape(name: str, declared: PerItem, item: Shape) -> None:
    """Refuse what gives no shape for items of any number of dimensions."""
    try:
        found: Any = declared.shape(item)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    is_shape = isinstance(found, tuple) and all(type(d) is int and d >= 0 for d in found)
    if not is_shape:
        raise RefusedType(
            f"`PerItem` of the buffer {name} must take a function from the shape of an item, such "
            f"as {item}, to a tuple of ints, got {found!r} for it; vectors are items too"
        )
