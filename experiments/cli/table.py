"""The table that ends a run."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.results import evaluations
from experiments.results.evaluations import CORRUPTED, Evaluation, flat
from experiments.results.folder import RunFolder
from experiments.results.summary import Summary
from experiments.results.swept import varied
from experiments.results.words import as_words
from xformopt.text import as_markdown


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
    tested, under = summary.tested(metrics), summary.under(metrics)
    own = {name for figures in under.values() for name in figures}
    trained = {k: v for k, v in metrics.items() if k not in tested and k not in own}
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
        *_under_conditions(path, goal.removeprefix("valid_")),
        ("target", _when(summary.target)),
        ("seconds", f"{summary.seconds:.1f} on {summary.environment['device']}"),
        ("folder", shown(path)),
        ("pictures", ", ".join(pictures) or "none"),
        ("weights", ", ".join(weights)),
    ]
    return [row for row in rows if row[1]]


def table_of(judged: Mapping[Path, Sequence[Evaluation]]) -> str:
    """Return what the last weights of each run reach, a row a run, of which one is told apart."""
    summaries = {folder: RunFolder(folder).summary() for folder in judged}
    figures = {folder: _figures(summaries[folder], judged[folder]) for folder in judged}
    labels = [
        label
        for label in dict.fromkeys(label for own in figures.values() for label in own)
        if not label.startswith(f"{CORRUPTED}_")  # one of those that it is the mean of
    ]
    swept = varied([summary.overrides for summary in summaries.values()])
    rows = [
        [shown(folder), words, *(f"{own[k]:.4g}" if k in own else "" for k in labels)]
        for (folder, own), words in zip(figures.items(), swept, strict=True)
    ]
    which = sorted({one.weights for own in judged.values() for one in _shown(own)}, reverse=True)
    head = [f"run, {' or '.join(which)} weights", "set", *labels]
    if not any(swept):
        head, rows = [head[0], *labels], [[row[0], *row[2:]] for row in rows]
    return as_markdown(head, rows, aligned=True)


def _figures(summary: Summary, found: Sequence[Evaluation]) -> dict[str, float]:
    """Return the goal of the last weights, else of the best, under each condition, by its label."""
    metric = summary.goal.name.removeprefix("valid_") if summary.goal else ""
    figures = flat(_shown(found), metric) if metric else {}
    return {k.removeprefix("test_").removesuffix(f"_{metric}"): v for k, v in figures.items()}


def _shown(found: Sequence[Evaluation]) -> list[Evaluation]:
    """Return those of the last weights, else of the best, and of no averages."""
    plain = [one for one in found if not one.average]
    return [one for one in plain if one.weights == "last"] or plain


def shown(path: Path) -> str:
    """Return a folder as one types it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _under_conditions(path: Path, metric: str) -> Iterator[tuple[str, str]]:
    """Give what the last weights reach on test: a row an attack, and one for all corruptions."""
    own = [one for one in evaluations.read(path) if (one.weights, one.average) == ("last", "")]
    attacks = [one for one in own if one.kind == "attack"]
    for name in dict.fromkeys(one.name for one in attacks):
        reached = [
            f"{one.metrics[metric]:.4g} at {one.level:.4g}" for one in attacks if one.name == name
        ]
        yield f"final, {name}", f"test_{metric} {', '.join(reached)}"
    corrupted = flat((one for one in own if one.kind == "corruption"), metric)
    if corrupted:
        mean = corrupted.pop(f"test_{CORRUPTED}_{metric}")
        yield "final, corrupted", f"test_{metric} {mean:.4g} in the mean of {len(corrupted)}"


def _when(target: Mapping[str, float]) -> str:
    if not target:
        return ""
    reached = "step" in target
    when = (
        f"at step {target['step']}, after {target['seconds']:.1f} s" if reached else "not reached"
    )
    return f"{target['value']:g} {when}"
