"""`python -m experiments.report FOLDER…`: one page of finished, failed and partial runs."""

import sys
from collections.abc import Sequence

from experiments.__main__ import guarded


def report(arguments: Sequence[str]) -> int:
    """Write the report; return the exit status."""
    from experiments.cli.report import report

    return report(arguments)


def main() -> int:
    """Run the command line; return the exit status, as `python -m experiments` does."""
    return guarded(report)


if __name__ == "__main__":
    sys.exit(main())
