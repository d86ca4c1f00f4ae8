"""The time that something takes in all."""

from time import perf_counter
from typing import Any

import torch


class Clock:
    """Adds up the time within blocks; on a CUDA device, that of the device, which is not held up.

    >>> clock = Clock()
    >>> with clock:
    ...     _ = sum(range(1000))
    >>> clock.seconds() > 0
    True
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.spent = 0.0
        self._events: list[tuple[Any, Any]] = []

    def __enter__(self) -> None:
        """Begin a block."""
        self._cuda = torch.cuda.is_initialized()
        self._began = _event() if self._cuda else perf_counter()

    def __exit__(self, *_: Any) -> None:
        """End it."""
        if self._cuda:
            self._events.append((self._began, _event()))
        else:
            self.spent += perf_counter() - self._began

    def seconds(self) -> float:
        """Return the time so far; a device is waited for."""
        if self._events:
            torch.cuda.synchronize()
            self.spent += sum(began.elapsed_time(ended) for began, ended in self._events) / 1000
            self._events.clear()
        return self.spent


def _event() -> Any:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
