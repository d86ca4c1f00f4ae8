"""The bench's table, JSON and picture."""

import json
from pathlib import Path
from typing import Any

from xformopt.text import as_markdown

Figure = dict[str, Any]


def as_table(rows: list[Figure]) -> str:
    """Lay the rows out as Markdown: the median and, in brackets, the quartiles."""
    header = ("set", "inner", "links", "who", "figure", "median", "quartiles", "goal", "MiB")
    lines = [
        (
            *(row[key] for key in header[:5]),
            f"{row['median']:.2f}",
            f"{row['low']:.2f}–{row['high']:.2f}",
            "" if row["goal"] is None else f"<= {row['goal']} {'✓' if row['met'] else '✗'}",
            f"{row['memory']:.1f}" if "memory" in row else "",
        )
        for row in rows
    ]
    return as_markdown(header, lines, aligned=True)


def save(folder: Path, rows: list[Figure], machine: dict[str, Any]) -> list[Path]:
    """Write table, JSON and picture into `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, data, picture = (folder / name for name in ("bench.md", "bench.json", "bench.png"))
    table.write_text(as_table(rows) + "\n")
    data.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    _draw(picture, rows)
    return [table, data, picture]


def _draw(path: Path, rows: list[Figure]) -> None:
    from experiments.plots import plt

    copies = [row for row in rows if row["figure"] == "extra copies" and row["inner"] == "SGD"]
    sets = list(dict.fromkeys(row["set"] for row in copies)) or ["nothing measured"]
    figure, axes = plt.subplots(
        1, len(sets), figsize=(4 * len(sets), 3.6), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], sets, strict=True):
        here = [row for row in copies if row["set"] == name]
        links = list(dict.fromkeys(row["links"] for row in here))
        for who, color in (("rai_toolbox", "tab:gray"), ("xformopt", "tab:orange")):
            own = [row for row in here if row["who"] == who]
            places = [
                links.index(row["links"]) + (0.2 if who == "xformopt" else -0.2) for row in own
            ]
            axis.bar(places, [max(row["median"], 0.01) for row in own], 0.4, color=color, label=who)
        for row in here:
            if row["goal"] is not None:
                place = links.index(row["links"])
                axis.hlines(row["goal"], place - 0.4, place + 0.4, color="k", linestyle=":")
        axis.set(yscale="log", title=name, xticks=range(len(links)))
        axis.set_xticklabels(links, rotation=30, ha="right")
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].set_ylabel("copies of the gradient, over bare SGD\n(dotted: goal)")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
