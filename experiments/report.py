"""The table that ends a run."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.progress import as_words


def show(summary: dict[str, Any], path: Path) -> None:
    """Print what was run and reached."""
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in as_rows(summary, path):
        table.add_row(*row)
    Console().print(table)


def as_rows(summary: dict[str, Any], path: Path) -> list[tuple[str, str]]:
    """Return what the table shows."""
    metrics = {k: v for k, v in summary["final"].items() if k != "step"}
    goal = summary["goal"]["metric"]
    inside = path.is_relative_to(Path.cwd())
    return [
        ("task", summary["task"]),
        ("inner optimizer", summary["inner"]),
        ("transforms", ", ".join(summary["transforms"]) or "none"),
        ("seed", str(summary["seed"])),
        ("steps", str(summary["final"]["step"])),
        ("final", as_words(metrics)),
        (f"best {goal}", f"{summary['best'][goal]:.4g} at step {summary['best']['step']}"),
        ("seconds", f"{summary['seconds']:.1f} on {summary['device']}"),
        ("folder", os.path.relpath(path) if inside else str(path)),
        ("pictures", ", ".join(summary["pictures"]) or "none"),
    ]
