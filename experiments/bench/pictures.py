"""The bench's pictures: names over rai_toolbox, and the copies that links take, by set."""

from pathlib import Path
from typing import Any

from experiments.bench.case import Row
from experiments.bench.names import OVER_RAI
from experiments.observers.figures import pyplot

OURS, THEIRS = "tab:orange", "tab:gray"


def draw_names(path: Path, rows: list[Row]) -> bool:
    """Draw the time of each name over rai_toolbox's, a panel for each set; return whether any."""
    rows = [row for row in rows if row["figure"] == OVER_RAI]
    if not rows:
        return False
    figure, panels = _panels(rows, sharey=True, height=0.35)
    names = list(dict.fromkeys(row["what"] for row in rows))
    most = max(2, *(1.2 * row["high"] for row in rows))
    for title, axis in panels.items():
        for row in (row for row in rows if row["set"] == title):
            _draw_ratio(axis, names.index(row["what"]), row)
        goal = next(row["goal"] for row in rows if row["set"] == title)
        axis.axvline(goal, color="k", linestyle=":")
        axis.axvline(1, color=THEIRS)
        axis.set(xscale="log", xlim=(0.03, most), title=f"{title}\ngoal {goal}")
        axis.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axis.minorticks_off()
        axis.grid(axis="x", alpha=0.3)
    first = next(iter(panels.values()))
    first.set_yticks(range(len(names)), names)
    first.set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(
        "step of ours over that of rai_toolbox (dotted: goal; grey: 1; bars: quartiles)"
    )
    _save(figure, path)
    return True


def _draw_ratio(axis: Any, place: int, row: Row) -> None:
    color = "tab:green" if row["met"] else "tab:red"
    axis.plot([row["low"], row["high"]], [place, place], color=color, alpha=0.6, linewidth=3)
    axis.plot(row["median"], place, "o", color=color)
    axis.annotate(
        f"{row['median']:.2f}",
        (row["median"], place),
        (0, 6),
        textcoords="offset points",
        ha="center",
        fontsize="small",
        bbox={"boxstyle": "square,pad=0.1", "color": "white"},
    )


def draw_copies(path: Path, rows: list[Row]) -> bool:
    """Draw the copies that links take around SGD, a panel for each set; return whether any."""
    rows = [row for row in rows if row["figure"] == "extra copies" and row["inner"] == "SGD"]
    if not rows:
        return False
    figure, panels = _panels(rows, sharey=False, height=0.5)
    links = list(dict.fromkeys(row["what"] for row in rows))
    for title, axis in panels.items():
        for row in (row for row in rows if row["set"] == title):
            _draw_bar(axis, links.index(row["what"]), row)
        axis.set(yscale="log", title=title)
        axis.set_xticks(range(len(links)), links, rotation=30, ha="right")
        axis.grid(axis="y", alpha=0.3)
    first = next(iter(panels.values()))
    first.set_ylabel("copies of the gradient, over bare SGD\n(dotted: goal)")
    first.legend(frameon=False)
    _save(figure, path)
    return True


def _draw_bar(axis: Any, place: int, row: Row) -> None:
    ours = row["who"] == "xformopt"
    label = row["who"] if row["who"] not in axis.get_legend_handles_labels()[1] else None
    axis.bar(
        place + (0.2 if ours else -0.2),
        max(row["median"], 0.01),
        0.4,
        color=OURS if ours else THEIRS,
        label=label,
    )
    if row["goal"] is not None:
        axis.hlines(row["goal"], place - 0.4, place + 0.4, color="k", linestyle=":")


def _panels(rows: list[Row], *, sharey: bool, height: float) -> tuple[Any, dict[str, Any]]:
    """Return a figure with a panel for each set, as high as the things in it ask for."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    things = len({row["what"] for row in rows})
    size = (3 * len(sets) + 1.5, 1.6 + height * max(things, 4))
    figure, axes = pyplot().subplots(
        1, len(sets), figsize=size, squeeze=False, sharey=sharey, layout="constrained"
    )
    return figure, dict(zip(sets, axes[0], strict=True))


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110)
    pyplot().close(figure)
