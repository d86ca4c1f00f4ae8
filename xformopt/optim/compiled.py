"""Steps that run as one program of `torch.compile`."""

import sys
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xformopt.optim.fractions import as_fraction, from_fraction
from xformopt.optim.scheduled import Place
from xformopt.optim.stepping import has_step_hooks

OURS = ("params", "capturable", "schedules", "schedule_step")
"""Keys of groups that a program may write."""


class CompiledSteps:
    """Steps of an optimizer, each as one program once every parameter has made a first one.

    That first step makes the state. An inner optimizer that counts in its parameter groups, where
    a program would take the count for a constant, or has step hooks, which a program would leave
    out, or is given a closure that it may call more than once, is not compiled, with a warning.
    """

    def __init__(self, optimizer: Any, step: Callable[[], Any], scheduled: Any) -> None:
        """Take the step, and what puts numbers of schedules into the groups."""
        self._optimizer, self._step, self._scheduled = optimizer, step, scheduled
        self._stepped: set[int] = set()
        self._program: Program | None = None

    def step(self) -> Any:
        """Make a step, by the program where that is possible."""
        groups = self._optimizer.param_groups
        present = {id(p) for group in groups for p in group["params"] if p.grad is not None}
        if not present <= self._stepped:
            return self._first_step(present)
        if has_step_hooks(self._optimizer.inner_opt):
            self.give_up("has step hooks, which a program would not call")
        self._scheduled.follow(groups)
        self._scheduled.paused = True
        try:
            self._of_steps()(self._scheduled.places(groups))
        finally:
            self._scheduled.paused = False
        self._scheduled.count(groups)
        return None

    def _first_step(self, present: set[int]) -> Any:
        before = _entries(self._optimizer)
        returned = self._step()
        self._stepped |= present
        written = _written(
            before, self._optimizer, self._scheduled.places(self._optimizer.param_groups)
        )
        if written:
            self.give_up(_counting(written))
        return returned

    def give_up(self, why: str) -> None:
        """Go on without compiling, with a word why."""
        self._of_steps().give_up(why)

    def _of_steps(self) -> "Program":
        self._program = self._program or Program(self._optimizer, self._step)
        return self._program


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

    def give_up(self, why: str) -> None:
        """Go on without compiling, with a word why the inner optimizer cannot be."""
        if not self._failed:
            inner = getattr(self._optimizer, "inner_opt", self._optimizer)
            _warn(f"`compile=True`: {type(inner).__name__} {why}; its steps are not compiled")
        self._failed = True

    def _run(self, given: dict[Place, Any]) -> None:
        """Run the program for these places; the groups are as before, but for their state."""
        places = tuple(given)
        if places not in self._compiled:
            self._compiled[places] = self._compile(places)
        before = _entries(self._optimizer)
        try:
            self._compiled[places](list(given.values()))
        except Exception as error:
            if not _is_of_compiler(error):
                raise
            _put(self._optimizer, before)
            self._failed = True
            said = next(iter(str(error).splitlines()), "")
            _warn(
                f"torch.compile failed, and steps go on without it: {type(error).__name__}: {said}"
            )
            return
        written = _written(before, self._optimizer, set(given))
        after = _entries(self._optimizer)
        _put(self._optimizer, before)
        if written:
            for group, entries in zip(self._optimizer.param_groups, after, strict=True):
                group.update({key: entries[key] for key in written if key in entries})
            self.give_up(_counting(written))

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


def _entries(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [dict(group) for group in optimizer.param_groups]


def _put(optimizer: Optimizer, entries: list[dict[str, Any]]) -> None:
    for group, before in zip(optimizer.param_groups, entries, strict=True):
        group.clear()
        group.update(before)


def _written(before: list[dict[str, Any]], optimizer: Optimizer, by_us: set[Place]) -> set[str]:
    """Return the keys of groups that hold something else than before, though not by us."""
    return {
        key
        for i, (group, held) in enumerate(zip(optimizer.param_groups, before, strict=True))
        for key in group
        if key not in OURS and (i, key) not in by_us and not _same(group[key], held.get(key))
    }


def _counting(written: set[str]) -> str:
    keys = ", ".join(f"`{key}`" for key in sorted(written))
    return f"counts in its parameter groups ({keys}), where a program takes numbers for constants"


def _same(new: Any, old: Any) -> bool:
    if isinstance(new, Tensor) or isinstance(old, Tensor):
        return new is old
    return new is old or (type(new) is type(old) and bool(new == old))


def _warn(said: str) -> None:
    depth = 2
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("xformopt", "torch")):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(said, RuntimeWarning, stacklevel=depth)


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
