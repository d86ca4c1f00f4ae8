"""The table that ends a sweep: a row per configuration, over its seeds, best first."""

import csv
import io
import json
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xformopt import text

Summary = dict[str, Any]
Standing = dict[str, Any]

failures: list[str] = []
"""What went wrong in the jobs of the sweep that just ended."""

running: list[tuple[Path, float]] = []
"""The folder of the sweep that runs now, and when it began; empty where none does."""


begun: list[int] = []
"""The numbers of the jobs of that sweep that began; where none did, the command was wrong."""


class Leaderboard(Callback):
    """Prints and saves the leaderboard when a sweep ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the time: summaries from before are of another sweep in the same folder."""
        running[:] = [(Path(config.hydra.sweep.dir), time.time())]
        begun.clear()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note that a job began."""
        begun.append(len(begun))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write what the sweep's jobs reached."""
        finish()


def finish() -> None:
    """Collect the summaries of the running sweep, if there is one; print and save its table."""
    while running:
        folder, start = running.pop()
        summaries = read_summaries(folder, since=start)
        if not summaries and not begun:
            continue
        if not summaries:
            failures.append(f"no job of the sweep left a summary in {folder}")
            print(f"error: {failures[-1]}", file=sys.stderr)
            continue
        rows = leaderboard(summaries)
        (folder / "leaderboard.md").write_text(as_markdown(rows) + "\n")
        (folder / "leaderboard.csv").write_text(as_csv(rows))
        print(f"\n{as_markdown(rows)}\n\nsaved as leaderboard.md and leaderboard.csv in {folder}")
        failures.extend(_error(s) for s in summaries if s["status"] != "finished")


def read_summaries(folder: Path, since: float = 0.0) -> list[Summary]:
    """Read the `summary.json` of every job of a sweep, in order of their numbers."""
    found = folder.rglob("summary.json")
    jobs = [path.parent for path in found if path.stat().st_mtime >= since - 1]
    ordered = sorted(jobs, key=lambda job: (len(job.name), job.name))
    return [json.loads((job / "summary.json").read_text()) for job in ordered]


def leaderboard(summaries: list[Summary]) -> list[Standing]:
    """Return a row per configuration, over its seeds: the mean and spread of its metric.

    Rows are sorted within each task, failed ones last. A seed that ran twice counts once.
    """
    groups: dict[tuple[str, ...], dict[Any, Summary]] = {}
    for summary in summaries:
        key = tuple(o for o in summary["overrides"] if not o.lstrip("+").startswith("seed="))
        groups.setdefault(key, {})[summary["seed"]] = summary
    rows = [_row(key, list(group.values())) for key, group in groups.items()]
    return sorted(rows, key=_rank)


def as_markdown(rows: list[Standing]) -> str:
    """Lay the rows out as an aligned Markdown table; what all of them share stands above it."""
    shared = {k: v for k, v in rows[0]["config"].items() if all(k in r["config"] for r in rows)}
    shared = {k: v for k, v in shared.items() if all(r["config"][k] == v for r in rows)}
    shared = shared if len(rows) > 1 else {}
    keys = [key for key in _keys(rows) if key not in shared]
    table = [[*keys, "metric", "mean ± sd", "best", "seeds", "seconds", "error"]]
    for row in rows:
        figures = [row["metric"], _spread(row), _short(row["best"]), row["seeds"]]
        cells = [*(row["config"].get(k, "") for k in keys), *figures]
        table.append([*cells, _short(row["seconds"]), row["error"]])
    if not any(row["error"] for row in rows):
        table = [cells[:-1] for cells in table]
    above = ", ".join(f"`{key}={value}`" for key, value in shared.items())
    header, *lines = [list(map(str, cells)) for cells in table]
    return (f"All with {above}:\n\n" if above else "") + text.as_markdown(
        header, lines, aligned=True
    )


def as_csv(rows: list[Standing]) -> str:
    """Lay the rows out as CSV, with full precision."""
    keys = _keys(rows)
    columns = ["metric", "mean", "sd", "best", "seeds", "seconds", "error"]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([*keys, *columns])
    for row in rows:
        writer.writerow([*(row["config"].get(k, "") for k in keys), *(row[c] for c in columns)])
    return file.getvalue()


def _row(overrides: tuple[str, ...], group: list[Summary]) -> Standing:
    finished = [s for s in group if s["status"] == "finished"]
    goal = finished[0]["goal"] if finished else {"metric": "", "mode": "max"}
    values = [s["final"][goal["metric"]] for s in finished]
    bests = [s["best"][goal["metric"]] for s in finished]
    errors = list(dict.fromkeys(_error(s) for s in group if s["status"] != "finished"))
    return {
        "task": group[0].get("task", ""),
        "config": {o.lstrip("+").partition("=")[0]: o.partition("=")[2] for o in overrides},
        "metric": goal["metric"],
        "mode": goal["mode"],
        "mean": mean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
        "best": (max if goal["mode"] == "max" else min)(bests) if bests else None,
        "seeds": f"{len(finished)}/{len(group)}",
        "seconds": mean(s["seconds"] for s in finished) if finished else None,
        "error": "; ".join(errors),
    }


def _error(summary: Summary) -> str:
    """Return why a job did not finish; one that was killed could not write it."""
    return summary.get("error", "killed")


def _rank(row: Standing) -> tuple[Any, ...]:
    if row["mean"] is None:
        return (True, row["task"], 0.0)
    return (False, row["task"], -row["mean"] if row["mode"] == "max" else row["mean"])


def _keys(rows: list[Standing]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row["config"]))


def _spread(row: Standing) -> str:
    if row["mean"] is None:
        return ""
    return _short(row["mean"]) + (f" ± {row['sd']:.2g}" if row["sd"] is not None else "")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
