"""`python -m experiments`: run a config, or sweep over several with `-m`."""

import signal
import sys
from typing import Any


def main() -> int:
    """Run the command line; return the exit status: 2 for a wrong command, 1 for a failed run.

    A `kill` ends it as Ctrl-C does: with a summary, and the leaderboard of a sweep.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from experiments.cli.launch import launch

        return launch(sys.argv[1:])
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
