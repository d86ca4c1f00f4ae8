"""What contenders show over several problems together."""

from collections.abc import Sequence
from math import inf
from statistics import mean, median

from experiments.results.comparison import Comparison, Entry
from experiments.results.profiles import ratios, score
from xformopt.text import as_markdown

STEPS, SECONDS = 0, 1


def as_text_across(problems: Sequence[Comparison]) -> str:
    """Lay out the contenders, the one of the best mean rank first.

    Profiles are over the problems, of the median over seeds of what was taken until the target.
    """
    names = [entry.name for entry in problems[0].entries]
    ranks = {name: mean(_rank(one, name) for one in problems) for name in names}
    has_target = all(one.has_target for one in problems)
    areas = [_areas(problems, of) for of in (STEPS, SECONDS)] if has_target else []
    head = ["contender", "mean rank", "profile of steps", "profile of seconds"]
    rows = [
        [name, f"{ranks[name]:.2f}", *(f"{area[name]:.2f}" for area in areas)]
        for name in sorted(names, key=lambda name: ranks[name])
    ]
    return as_markdown(head[: 2 + len(areas)], rows, aligned=True)


def _rank(problem: Comparison, name: str) -> int:
    """Return the rank of a contender, the last where it has no figure."""
    order = [*problem.figures]
    return order.index(name) + 1 if name in order else len(problem.entries)


def _areas(problems: Sequence[Comparison], of: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {}
    for problem in problems:
        for entry in problem.entries:
            taken.setdefault(entry.name, []).append(_median(entry, problem.seeds, of))
    return {name: score(own) for name, own in ratios(taken).items()}


def _median(entry: Entry, seeds: Sequence[int], of: int) -> float:
    """Return the median over seeds, ∞ where it did not come up to the target for most."""
    return median(entry.to_target.get(seed, (inf, inf))[of] for seed in seeds) if seeds else inf
