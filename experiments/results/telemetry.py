"""What a run tells of its links and steps, in a file of its own."""

from pathlib import Path
from typing import Any

from experiments.results.folder import whole_lines

NAME = "telemetry.jsonl"
UPDATE = "the whole step"
"""What stands for the link in lines of a whole step."""


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run; a last one that a kill left half is none."""
    return whole_lines(folder / NAME)
