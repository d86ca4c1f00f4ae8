"""Ctrl-C and `kill` while a run trains: held back until a checkpoint can be saved."""

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from experiments.run.ranks import SUBMITTED, rank, ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STDERR = 2
SAID = b"\nit stops after this step or evaluation"
AGAIN = b"; once more stops at once"


class Interruptions:
    """Keeps the first signal that would end a run until `act`; a second acts at once.

    Of several ranks all hear it, some twice, since `torchrun` passes it on, and so do the jobs of
    submitit: no second acts. Only the main thread hears signals, so that elsewhere nothing is held
    back.
    """

    def __init__(self, *, held: bool) -> None:
        """Hold signals back, or let them act as they did."""
        self.came: signal.Signals | None = None
        self.again = ranks() == 1 and SUBMITTED not in os.environ
        held = held and threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in SIGNALS if held}
        self.before = {number: handler for number, handler in handlers.items() if callable(handler)}

    def __enter__(self) -> "Interruptions":
        """Begin to hold them."""
        self.process = os.getpid()
        for number in self.before:
            signal.signal(number, self._hear)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        """Let them act again; one that came goes before an error, which it may have caused."""
        self._release()
        if error is None or issubclass(error, Exception):
            self.act()

    def act(self) -> None:
        """Let what came act."""
        if self.came is not None:
            number, self.came = self.came, None
            self.before[number](number, None)

    def _hear(self, number: int, _: Any) -> None:
        if self.again:
            self._release()
        self.came = signal.Signals(number)
        if os.getpid() == self.process and rank() == 0:  # workers that read images hear it too
            say(SAID + AGAIN * self.again + b"\n")

    def _release(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def say(words: bytes) -> None:
    """Write to the terminal from a signal's handler, where print may be at work."""
    with suppress(OSError):
        os.write(STDERR, words)
