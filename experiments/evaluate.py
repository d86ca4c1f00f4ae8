"""`python -m experiments.evaluate FOLDER…`: judge the weights of finished runs anew."""

import sys
from collections.abc import Sequence

from experiments.__main__ import guarded


def evaluate(arguments: Sequence[str]) -> int:
    """Evaluate, which imports torch; return the exit status."""
    from experiments.cli.evaluate import evaluate

    return evaluate(arguments)


def main() -> int:
    """Run the command line; return the exit status, as `python -m experiments` does."""
    return guarded(evaluate)


if __name__ == "__main__":
    sys.exit(main())
