"""What contenders show over several problems together."""

from collections.abc import Sequence
from math import inf
from statistics import mean, median

import numpy as np
from scipy.stats import rankdata

from experiments.results.comparison import Comparison, Entry
from experiments.results.profiles import scores
from xformopt.text import as_markdown

STEPS, SECONDS = 0, 1


def as_text_across(problems: Sequence[Comparison]) -> str:
    """Lay out the contenders, the one of the best mean rank first.

    Ranks go by the mean on each problem, those of a tie their mean; contenders without a figure
    share the last ones. Profiles are over the problems, of the median over seeds of what was taken
    until the target, ∞ unless more than half of the seeds came up to it.
    """
    names = [entry.name for entry in problems[0].entries]
    ranks = dict(zip(names, np.mean([_ranks(one, names) for one in problems], axis=0), strict=True))
    has_target = all(one.target is not None for one in problems)
    areas = [scores(_taken(problems, of)) for of in (STEPS, SECONDS)] if has_target else []
    head = ["contender", "mean rank", "profile of steps", "profile of seconds"]
    rows = [
        [name, f"{ranks[name]:.2f}", *(f"{area[name]:.2f}" for area in areas)]
        for name in sorted(names, key=ranks.__getitem__)
    ]
    return as_markdown(head[: 2 + len(areas)], rows, aligned=True)


def _ranks(problem: Comparison, names: Sequence[str]) -> np.ndarray:
    if not problem.seeds:
        return rankdata([0] * len(names))
    sign = -1 if problem.metric.mode == "max" else 1
    held = problem.figures
    return rankdata([sign * mean(held[name]) if name in held else inf for name in names])


def _taken(problems: Sequence[Comparison], of: int) -> dict[str, list[float]]:
    """Return what each contender took on each problem."""
    taken: dict[str, list[float]] = {}
    for problem in problems:
        for entry in problem.entries:
            taken.setdefault(entry.name, []).append(_median(entry, problem.seeds, of))
    return taken


def _median(entry: Entry, seeds: Sequence[int], of: int) -> float:
    return median(entry.to_target.get(seed, (inf, inf))[of] for seed in seeds) if seeds else inf
