"""The table that ends a run."""

import os
from collections.abc import Mapping
from pathlib import Path

from experiments.results.summary import Summary
from experiments.results.words import as_words


def show(summary: Summary, path: Path) -> None:
    """Print what was run and reached."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in as_rows(summary, path):
        table.add_row(*row)
    Console().print(table)


def as_rows(summary: Summary, path: Path) -> list[tuple[str, str]]:
    """Return what the table shows."""
    metrics = {k: v for k, v in summary.final.items() if k != "step"}
    tested = summary.tested(metrics)
    trained = {k: v for k, v in metrics.items() if k not in tested}
    goal = summary.goal.name if summary.goal else ""
    best = summary.tested(summary.best)
    at_best = f"{summary.best[goal]:.4g} at step {summary.best['step']}"
    pictures = sorted(picture.name for picture in path.glob("*.png"))
    weights = sorted(file.name for file in path.glob("*.safetensors"))
    rows = [
        ("task", summary.task),
        ("model", summary.model and f"{summary.model}, {summary.parameters:,} parameters"),
        ("inner optimizer", summary.inner),
        ("transforms", ", ".join(summary.transforms) or "none"),
        ("seed", str(summary.seed)),
        ("steps", str(summary.final["step"])),
        ("final", as_words(trained)),
        ("final, test", as_words(tested)),
        (f"best {goal}", at_best),
        ("best, test", as_words(best)),
        ("target", _when(summary.target)),
        ("seconds", f"{summary.seconds:.1f} on {summary.environment['device']}"),
        ("folder", shown(path)),
        ("pictures", ", ".join(pictures) or "none"),
        ("weights", ", ".join(weights)),
    ]
    return [row for row in rows if row[1]]


def shown(path: Path) -> str:
    """Return a folder as one types it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _when(target: Mapping[str, float]) -> str:
    if not target:
        return ""
    reached = "step" in target
    when = (
        f"at step {target['step']}, after {target['seconds']:.1f} s" if reached else "not reached"
    )
    return f"{target['value']:g} {when}"
