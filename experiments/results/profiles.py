"""How soon contenders come up to a target, and how often within a factor of the fastest."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import numpy as np

from experiments.results.metric import Metric

MOST = 4.0
"""The largest factor that counts, as in AlgoPerf."""

Times = Mapping[str, Sequence[float]]
"""What each contender took on each problem until the target; ∞ where it did not come up to it."""


def until(
    lines: Iterable[Mapping[str, float]], goal: Metric, target: float
) -> tuple[float, float] | None:
    """Return after how many steps and seconds a run came up to a target; None if it never did."""
    for line in lines:
        value = line.get(goal.name)
        if value is not None and (value == target or goal.better(value, target)):
            return line["step"], line["seconds"]
    return None


def ratios(times: Times) -> dict[str, list[float]]:
    """Return each time over the shortest on its problem; ∞ on one that nobody solved.

    >>> ratios({"a": [1.0, 4.0], "b": [2.0, inf]})
    {'a': [1.0, 1.0], 'b': [2.0, inf]}
    """
    best = [min(held) for held in zip(*times.values(), strict=True)]
    return {n: [_over(*one) for one in zip(held, best, strict=True)] for n, held in times.items()}


def scores(times: Times) -> dict[str, float]:
    """Return the score of each contender.

    >>> scores({"a": [1.0, 4.0], "b": [1.0, 16.0]})
    {'a': 1.0, 'b': 0.5}
    """
    return {name: score(own) for name, own in ratios(times).items()}


def profile(ratios: Sequence[float], factors: Sequence[float]) -> list[float]:
    """Return on which share of the problems it is within each factor of the fastest.

    ρ(τ) = share of problems with ratio <= τ

    >>> profile([1.0, 2.0, inf, 1.5], [1.0, 2.0])
    [0.25, 0.75]

    Source: Dolan & Moré 2002, Benchmarking optimization software with performance profiles,
    Mathematical Programming.
    """
    held = np.asarray(ratios)
    return [float(np.mean(held <= factor)) for factor in factors]


def score(ratios: Sequence[float], most: float = MOST) -> float:
    """Return the mean of the profile over factors from 1 to `most`; 1 is the best there is.

    ∫ ρ(τ) dτ / (most - 1) = mean over the problems of the share of [1, most] above their ratios

    >>> score([1.0, 2.5, inf])
    0.5

    Source: Dahl et al. 2023, Benchmarking neural network training algorithms, arXiv:2306.07179.
    """
    return float(np.mean([(most - min(max(r, 1.0), most)) / (most - 1) for r in ratios]))


def _over(time: float, least: float) -> float:
    if time == inf or not least:
        return inf if time > least or least == inf else 1.0
    return time / least
