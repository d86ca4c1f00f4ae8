"""What people read: tables, lists, and hints at the name that was meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

Cells = Sequence[str]


def as_text(header: Cells, rows: Iterable[Cells]) -> str:
    """Lay out a table for a terminal; the last column may be as long as it likes.

    >>> print(as_text(("name", "what"), [("sign", "±1")]))
    name  what
    ----  ----
    sign  ±1
    """
    table = [header, tuple("-" * len(h) for h in header), *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(header: Cells, rows: Iterable[Cells], *, aligned: bool = False) -> str:
    """Lay out a table in Markdown; `aligned` pads its columns, to be read as it is.

    >>> print(as_markdown(("name", "what"), [("sign", "|±1|")]))
    | name | what |
    | --- | --- |
    | sign | \\|±1\\| |
    """
    table = [header, ["---"] * len(header), *rows]
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in table]
    if aligned:
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def first(words: Sequence[str], most: int) -> str:
    """Return the first of some words, and whether there are more.

    >>> first(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


def close_matches(name: str, known: list[str]) -> str:
    """Say which known names are close to `name`, and failing that, all that there are."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    close = close or [k for k in known if k.lower() == name.lower()]
    if close:
        return "did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
    return "there are: " + ", ".join(sorted(known)) if known else "it has none"
