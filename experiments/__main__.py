"""`python -m experiments`: run a config, or sweep over several with `-m`."""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any


def main() -> int:
    """Run the command line; return the exit status: 2 for a wrong command, 1 for a failed run.

    A `kill` ends it as Ctrl-C does: with a summary, and the leaderboard of a sweep.
    """

    def launched(arguments: Sequence[str]) -> int:
        from experiments.cli.launch import launch

        return launch(arguments)

    return guarded(launched)


def guarded(command: Callable[[Sequence[str]], int]) -> int:
    """Return the exit status of a command, which a `kill` ends as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return command(sys.argv[1:])
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
