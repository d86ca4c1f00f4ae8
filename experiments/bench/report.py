"""The bench's table, and the files that are made from results."""

from pathlib import Path

from experiments.bench.case import Row
from experiments.bench.pictures import draw_copies, draw_names
from xformopt.text import as_markdown

HEADER = ("set", "inner", "what", "entry", "figure", "median", "quartiles", "goal", "ms", "MiB")


def as_table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown: the median and the quartiles, and the time of the entry."""
    lines = [
        (
            *(row[key] for key in HEADER[:5]),
            f"{row['median']:.2f}",
            f"{row['low']:.2f}–{row['high']:.2f}",
            "" if row["goal"] is None else f"<= {row['goal']:.3g} {'✓' if row['met'] else '✗'}",
            f"{row['ms']:.2f}",
            f"{row['memory']:.1f}" if "memory" in row else "",
        )
        for row in rows
    ]
    return as_markdown(HEADER, lines, aligned=True)


def save(folder: Path, rows: list[Row]) -> list[Path]:
    """Write the table and the pictures that the rows give into `folder`; return their paths."""
    table = folder / "bench.md"
    table.write_text(as_table(rows) + "\n")
    pictures = ((draw_names, "names.png"), (draw_copies, "copies.png"))
    return [table, *(folder / name for draw, name in pictures if draw(folder / name, rows))]
