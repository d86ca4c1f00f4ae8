"""The table that ends a sweep: a row per configuration, over its seeds, best first."""

import csv
import io
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

Summary = dict[str, Any]
Row = dict[str, Any]

failures: list[str] = []
"""What went wrong in the jobs of the sweep that just ended."""


class Leaderboard(Callback):
    """Prints and saves the leaderboard when a sweep ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the time: summaries from before are of another sweep in the same folder."""
        self.start = time.time()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collect the summaries of the sweep's jobs and write what they show."""
        folder = Path(config.hydra.sweep.dir)
        summaries = read_summaries(folder, since=self.start)
        rows = leaderboard(summaries)
        (folder / "leaderboard.md").write_text(as_markdown(rows))
        (folder / "leaderboard.csv").write_text(as_csv(rows))
        print(f"\n{as_markdown(rows)}\nsaved as leaderboard.md and leaderboard.csv in {folder}")
        failures[:] = [s["error"] for s in summaries if s["status"] != "finished"]


def read_summaries(folder: Path, since: float = 0.0) -> list[Summary]:
    """Read the `summary.json` of every job of a sweep, in order of their numbers."""
    found = folder.glob("*/summary.json")
    jobs = [path.parent for path in found if path.stat().st_mtime >= since - 1]
    ordered = sorted(jobs, key=lambda job: (len(job.name), job.name))
    return [json.loads((job / "summary.json").read_text()) for job in ordered]


def leaderboard(summaries: list[Summary]) -> list[Row]:
    """Return a row per configuration, whatever its seed: the mean and spread of its metric."""
    groups: dict[tuple[str, ...], list[Summary]] = {}
    for summary in summaries:
        key = tuple(o for o in summary["overrides"] if not o.startswith("seed="))
        groups.setdefault(key, []).append(summary)
    rows = [_row(key, group) for key, group in groups.items()]
    return sorted(rows, key=_rank)


def as_markdown(rows: list[Row]) -> str:
    """Lay the rows out as a Markdown table."""
    keys = _keys(rows)
    header = [*keys, "metric", "mean ± sd", "best", "seeds", "seconds", "error"]
    table = [header, ["---"] * len(header)]
    for row in rows:
        figures = [row["metric"], _spread(row), _short(row["best"]), row["seeds"]]
        cells = [*(row["config"].get(k, "") for k in keys), *figures]
        table.append([*cells, _short(row["seconds"]), row["error"]])
    return "".join("| " + " | ".join(_escape(c) for c in line) + " |\n" for line in table)


def as_csv(rows: list[Row]) -> str:
    """Lay the rows out as CSV, with full precision."""
    keys = _keys(rows)
    columns = ["metric", "mean", "sd", "best", "seeds", "seconds", "error"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*keys, *columns])
    for row in rows:
        writer.writerow([*(row["config"].get(k, "") for k in keys), *(row[c] for c in columns)])
    return text.getvalue()


def _row(overrides: tuple[str, ...], group: list[Summary]) -> Row:
    finished = [s for s in group if s["status"] == "finished"]
    goal = finished[0]["goal"] if finished else {"metric": "", "mode": "max"}
    values = [s["final"][goal["metric"]] for s in finished]
    bests = [s["best"][goal["metric"]] for s in finished]
    errors = list(dict.fromkeys(s["error"] for s in group if s["status"] != "finished"))
    return {
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


def _rank(row: Row) -> tuple[Any, ...]:
    if row["mean"] is None:
        return (True, "", 0.0)
    return (False, row["metric"], -row["mean"] if row["mode"] == "max" else row["mean"])


def _keys(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row["config"]))


def _spread(row: Row) -> str:
    if row["mean"] is None:
        return ""
    return _short(row["mean"]) + (f" ± {row['sd']:.2g}" if row["sd"] is not None else "")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _escape(cell: Any) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
