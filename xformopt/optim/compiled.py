"""Steps that run as one program of `torch.compile`."""

import warnings
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xformopt.optim.fractions import as_fraction, from_fraction

Place = tuple[int, str]
"""The index of a group, and a key."""


class Program:
    """A step, compiled to one graph; what cannot be compiled runs as it is, with a warning.

    Numbers that change from step to step go into the graph as fractions: torch keeps whole numbers
    symbolic, but compiles anew for many a float. A number that changes for the first time, without
    being known to, costs a second program.
    """

    def __init__(self, optimizer: Optimizer, step: Callable[[], Any]) -> None:
        """Take a step that reads the groups of an optimizer."""
        self._optimizer, self._step = optimizer, step
        self._numbers = _numbers(optimizer)
        self._changing: set[Place] = set()
        self._compiled: dict[tuple[Place, ...], Callable[[list[Any]], Any]] = {}
        self._failed = False

    def __call__(self, scheduled: set[Place]) -> None:
        """Run the program, or the step from when compiling has failed."""
        numbers, last = _numbers(self._optimizer), self._numbers
        self._changing |= scheduled | {n for n, v in numbers.items() if last.get(n, v) != v}
        self._numbers = numbers
        fractions = {
            place: as_fraction(number)
            for place, number in numbers.items()
            if place in self._changing or place[1] == "lr"
        }
        given = {place: fraction for place, fraction in fractions.items() if fraction is not None}
        if not self._failed:
            self._run(given)
        if self._failed:
            self._step()

    def _run(self, given: dict[Place, Any]) -> None:
        """Run the program for these places; the groups are as before, but for their state."""
        places, groups = tuple(given), self._optimizer.param_groups
        if places not in self._compiled:
            self._compiled[places] = self._compile(places)
        entries = [dict(group) for group in groups]
        try:
            self._compiled[places](list(given.values()))
        except Exception as error:
            if not _is_of_compiler(error):
                raise
            self._failed = True
            said = next(iter(str(error).splitlines()), "")
            warnings.warn(
                f"torch.compile failed, and steps go on without it: {type(error).__name__}: {said}",
                RuntimeWarning,
                stacklevel=7,
            )
        finally:
            for group, before in zip(groups, entries, strict=True):
                group.clear()
                group.update(before)

    def _compile(self, places: tuple[Place, ...]) -> Callable[[list[Any]], Any]:
        """Compile a copy of the code: torch keeps but eight programs of one, for all objects."""
        optimizer, step = self._optimizer, self._step

        def program(fractions: list[Any]) -> None:
            for (index, key), fraction in zip(places, fractions, strict=True):
                optimizer.param_groups[index][key] = from_fraction(fraction)
            step()

        code, closure = program.__code__.replace(), program.__closure__
        copy = FunctionType(code, program.__globals__, program.__name__, None, closure)
        for x in _tensors(optimizer):
            torch._dynamo.mark_static(x)
        return torch.compile(copy, fullgraph=True, dynamic=True)


def _numbers(optimizer: Optimizer) -> dict[Place, Any]:
    """Return the floats of the groups, and tuples of them such as `betas`."""
    return {
        (index, key): value
        for index, group in enumerate(optimizer.param_groups)
        for key, value in group.items()
        if isinstance(value, float)
        or (key == "lr" and isinstance(value, int))
        or (isinstance(value, tuple) and value and all(isinstance(v, float) for v in value))
    }


def _tensors(optimizer: Optimizer) -> Iterator[Tensor]:
    """Give parameters, gradients and state, whose shapes do not change."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            yield p
            if p.grad is not None:
                yield p.grad
            yield from _tensors_in(optimizer.state.get(p))


def _tensors_in(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, dict):
        for value in held.values():
            yield from _tensors_in(value)


def _is_of_compiler(error: Exception) -> bool:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return isinstance(error, FailOnRecompileLimitHit | TorchDynamoException)
