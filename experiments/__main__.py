"""`python -m experiments`: run a config, or sweep over several with `-m`."""

import sys


def main() -> int:
    """Run the command line; return the exit status: 2 for a wrong command, 1 for a failed run."""
    try:
        from experiments.launch import launch

        return launch()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
