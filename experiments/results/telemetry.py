"""What a run tells of its links and steps, in a file of its own."""

import json
from pathlib import Path
from typing import Any

NAME = "telemetry.jsonl"
UPDATE = "the whole step"
"""What stands for the link in lines of a whole step."""


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run; a last one that a kill left half is none."""
    path = folder / NAME
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
