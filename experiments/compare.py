"""`python -m experiments.compare …`: tune contenders alike, and say which is better, if any is."""

import sys
from collections.abc import Sequence

from experiments.__main__ import guarded


def compare(arguments: Sequence[str]) -> int:
    """Compare, which imports torch; return the exit status."""
    from experiments.cli.compare import compare

    return compare(arguments)


def main() -> int:
    """Run the command line; return the exit status, as `python -m experiments` does."""
    return guarded(compare)


if __name__ == "__main__":
    sys.exit(main())
