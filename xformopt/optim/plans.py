"""Which parameters of a group go into one call of a link, and in what shape."""

from collections.abc import Hashable
from operator import attrgetter, eq
from typing import Literal, NamedTuple

from torch import Tensor

from xformopt.refused import RefusedType
from xformopt.transforms.definition import Transform
from xformopt.transforms.items import rounds_scalars

SMALL = 2**17
"""Bytes below which tensors on the CPU are gathered: there a call costs more than a copy."""

SLAB = 2**22
"""Bytes of a gathered or cut batch on the CPU: what its caches hold."""

BUCKET = 2**27
"""Bytes of a gathered batch elsewhere."""

Columns = list[list[Tensor]]
"""What a transform is given: for each of its tensors, a list over the parameters."""


class Call(NamedTuple):
    """What is one call: parameters by position, and the shape they are seen in together."""

    positions: list[int]
    shape: tuple[int, ...]
    sizes: list[int]
    """The length of each, where they differ in that alone; else empty."""
    slab: int = 0
    """The number of items of a call, where a parameter is cut; 0 where it is not."""


class Plan(NamedTuple):
    """How a link runs over parameters of one layout."""

    as_they_are: list[int]
    """The positions of parameters that the transform takes one by one, in their own shape."""
    foreach: list[int]
    """The positions of those that its multi-tensor form takes, all in one call."""
    calls: list[Call]


Way = Literal["foreach", "gathered", "cut", "as it is", "alone"]
"""How a parameter is given to a transform."""

_KIND = attrgetter("shape", "dtype", "device")


def key_of(transform: Transform, params: list[Tensor], columns: Columns) -> tuple[Hashable, ...]:
    """Return what a plan is kept under: which parameters, and how far their counters differ."""
    key: list[Hashable] = [*map(id, params)]
    for column in (columns[k] for k in transform.counters):
        counts = [float(x) for x in column if _on_cpu(x)]
        key.append(tuple(count - counts[0] for count in counts))
    return tuple(key)


class Layout:
    """What a plan hangs on, beside which parameters it is for.

    It is compared tensor by tensor, and nothing is kept of what is compared: ten thousand new
    tuples in each step would set off the garbage collector.
    """

    def __init__(self, transform: Transform, params: list[Tensor], columns: Columns) -> None:
        """Note the layout of parameters, and of what the transform is given for them."""
        self.kinds = [*map(_KIND, params)]
        self.sized = [k for k in range(len(columns)) if k not in transform.counters]
        self.contiguous = [[*map(Tensor.is_contiguous, columns[k])] for k in self.sized]

    def fits(self, params: list[Tensor], columns: Columns) -> bool:
        """Return whether these are laid out so."""
        return all(map(eq, map(_KIND, params), self.kinds)) and all(
            all(map(eq, map(Tensor.is_contiguous, columns[k]), held))
            for k, held in zip(self.sized, self.contiguous, strict=True)
        )


def make_plan(
    transform: Transform,
    columns: Columns,
    shapes: list[tuple[int, ...]],
    alone: bool,
) -> Plan:
    """Cut a group into what is one call each: large tensors alone, small ones of like items."""
    if any(map(Tensor.is_complex, columns[0])):
        raise RefusedType(
            "transforms act on real numbers, and this parameter is complex; give it an optimizer "
            "or a route without links"
        )
    plan, gathering = Plan([], [], []), dict[Hashable, list[int]]()
    for i, shape in enumerate(shapes):
        tensors = [column[i] for column in columns]
        way = "alone" if alone else _way(transform, tensors, shape)
        size = _bytes(tensors[0])
        if way == "foreach":
            plan.foreach.append(i)
        elif way == "as it is":
            plan.as_they_are.append(i)
        elif way == "gathered":
            held = gathering.setdefault(_kind_of_items(transform, tensors, shape), [])
            if held and (len(held) + 1) * size > (SLAB if _on_cpu(tensors[0]) else BUCKET):
                plan.calls.append(_together(held, shapes, columns, transform))
                held.clear()
            held.append(i)
        else:
            slab = max(1, SLAB * shape[0] // size) if way == "cut" else 0
            plan.calls.append(Call([i], shape, [], slab))
    for held in filter(None, gathering.values()):
        plan.calls.append(_together(held, shapes, columns, transform))
    return plan


def _way(transform: Transform, tensors: list[Tensor], shape: tuple[int, ...]) -> Way:
    """Return how a parameter is best given to a transform, which may be given others with it."""
    first, counters = tensors[0], transform.counters
    sized = [tensors[k] for k in transform.entries]
    on_cpu, size = _on_cpu(first), _bytes(first)
    most = SLAB if transform.costly else SMALL
    small = size <= (most if on_cpu else BUCKET)
    alike = all(x.numel() == first.numel() for x in sized)
    whole = alike and all(x.is_contiguous() for x in tensors)
    foreach = transform.foreach is not None and not rounds_scalars(first)
    if foreach and small and all(x.shape == first.shape for x in sized):
        return "foreach"
    if not all(_on_cpu(tensors[k]) for k in counters):
        whole = False
    if whole and small and not (on_cpu and transform.elementwise):
        return "gathered"
    if whole and on_cpu and size > 2 * SLAB and not counters:
        return "cut"
    seen = transform.seen_as(shape)
    return "as it is" if [tuple(x.shape) for x in tensors] == seen else "alone"


def _kind_of_items(transform: Transform, tensors: list[Tensor], shape: tuple[int, ...]) -> Hashable:
    counts = [float(tensors[k]) for k in transform.counters]
    return (shape[1:], *((x.dtype, x.device) for x in tensors), *counts)


def _on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _together(
    held: list[int], shapes: list[tuple[int, ...]], columns: Columns, transform: Transform
) -> Call:
    whole = [columns[k][i] for k in transform.entries for i in held]
    same = all(x.ndim > 0 and x.shape[1:] == whole[0].shape[1:] for x in whole)
    sizes = [columns[0][i].shape[0] for i in held] if same else []
    return Call(list(held), (sum(shapes[i][0] for i in held), *shapes[held[0]][1:]), sizes)
