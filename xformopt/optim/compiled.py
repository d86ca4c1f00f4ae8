"""Steps that run as one program of `torch.compile`."""

import warnings
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor


class Program:
    """A method, compiled to one graph; what cannot be compiled runs as it is, with a warning."""

    def __init__(self, method: Callable[..., Any], tensors: list[Tensor]) -> None:
        """Compile a copy of the code: torch keeps but eight programs of one, for all objects.

        Numbers may change between calls; the shapes of `tensors` may not.
        """
        bound: Any = method
        function = bound.__func__
        copy = FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
        self._method = method
        program = MethodType(copy, bound.__self__)
        self._compiled = torch.compile(program, fullgraph=True, dynamic=True)
        for x in tensors:
            torch._dynamo.mark_static(x)

    def __call__(self, *args: Any) -> Any:
        """Run the program, or the method from when compiling has failed."""
        try:
            return self._compiled(*args)
        except Exception as error:
            if self._compiled is self._method or not _is_of_compiler(error):
                raise
            said = next(iter(str(error).splitlines()), "")
            warnings.warn(
                f"torch.compile failed, and steps go on without it: {type(error).__name__}: {said}",
                RuntimeWarning,
                stacklevel=5,
            )
            self._compiled = self._method
            return self._method(*args)


def tensors_in(held: Any) -> Iterator[Tensor]:
    """Give the tensors of a parameter's state."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, dict):
        for value in held.values():
            yield from tensors_in(value)


def _is_of_compiler(error: Exception) -> bool:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return isinstance(error, FailOnRecompileLimitHit | TorchDynamoException)
