"""Which of several contenders is better, and how much better one would have to be to show."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

ALPHA, POWER = 0.05, 0.8
"""The share of studies that may see a difference where none is, and that see one that is there."""
DRAWS, GRID = 10_000, 10_000

Figures = Mapping[str, Sequence[float]]
"""The figure of each contender for each seed, in the same order of seeds."""


class Difference(NamedTuple):
    """What one contender reaches beyond another, paired by seed.

    `p` is corrected for all pairs, after Holm; `low` and `high` hold 95 % of it.
    """

    one: str
    other: str
    mean: float
    low: float
    high: float
    p: float

    @property
    def is_seen(self) -> bool:
        """Return whether it is more than chance."""
        return self.p < ALPHA


def interval(values: Sequence[float], draws: int = DRAWS) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean, as wide as few values ask for.

    The expanded percentile interval: the quantiles are Φ(∓√(n / (n - 1)) t), with t that of
    Student's distribution, in place of 2.5 and 97.5 %. Of normal figures it holds the mean in 75 %
    of studies of 3 values, 87 % of 4, 92 % of 5, 94 % of 10.

    >>> interval([0.5, 0.5, 0.5])
    (0.5, 0.5)

    Source: Hesterberg 2015, What teachers should know about the bootstrap, The American
    Statistician, section 5.3.
    """
    held, n = np.asarray(values, dtype=float), len(values)
    if n < 2:
        return (-np.inf, np.inf)
    wide = sqrt(n / (n - 1)) * stats.t.ppf(ALPHA / 2, n - 1)
    share = float(stats.norm.cdf(wide))
    drawn = np.random.default_rng(0).choice(held, (draws, n)).mean(1)
    low, high = np.quantile(drawn, [share, 1 - share])
    return float(low), float(high)


def differences(figures: Figures, leader: str | None = None) -> list[Difference]:
    """Return all pairs, tested by Student's paired t-test and corrected after Holm.

    Of a leader those that it is the first of, corrected for all.

    >>> low = [0.8, 0.82, 0.81]
    >>> found = differences({"a": [0.9, 0.91, 0.92], "b": low, "c": low})
    >>> [(one.one, one.other, one.is_seen) for one in found]
    [('a', 'b', True), ('a', 'c', True), ('b', 'c', False)]

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics.
    """
    pairs, held = list(combinations(figures, 2)), np.array([*figures.values()], dtype=float)
    if not pairs:
        return []
    one, other = np.triu_indices(len(held), 1)
    apart = held[one] - held[other]
    corrected = holm(_p(apart, np.abs(np.stack([held[one], held[other]])).max((0, 2)).tolist()))
    return [
        Difference(*pair, float(values.mean()), *interval(values.tolist()), p)
        for pair, values, p in zip(pairs, apart, corrected, strict=True)
        if leader in (None, pair[0])
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values such that one of them is below α by chance in a share α of studies alone.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [1.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def detectable(figures: Figures) -> float:
    """Return the least true difference of a pair that so many seeds show in 80 % of studies.

    δ where P(|t'| > t) = 0.8 for t' of noncentrality δ √n / sd, at the level of the strictest of
    Holm's tests; sd is that of the paired differences, pooled over the pairs. Infinite for a
    single seed.
    """
    held = np.array([*figures.values()], dtype=float)
    one, other = np.triu_indices(len(held), 1)
    n = held.shape[1] if len(one) else 0
    if n < 2:
        return np.inf
    sd = sqrt(float((held[one] - held[other]).var(1, ddof=1).mean()))
    return sd / sqrt(n) * _noncentrality(n - 1, ALPHA / len(one))


def _p(apart: np.ndarray, sizes: Sequence[float]) -> list[float]:
    """Return the p-value of each mean of 0; that of the signs where all values are the same.

    They are so where they differ by rounding alone of figures of a size.
    """
    n = apart.shape[1]
    spreads = apart.std(1, ddof=1) if n > 1 else np.zeros(len(apart))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(apart.mean(1)) / (spreads / sqrt(n))
    tested: Any = 2 * stats.t.sf(t, n - 1)
    signs = 2.0 ** (1 - n)
    return [
        (1.0 if abs(values[0]) <= 1e-12 * size else signs)
        if np.ptp(values) <= 1e-12 * size
        else float(p)
        for values, size, p in zip(apart, sizes, tested, strict=True)
    ]


def _noncentrality(df: int, alpha: float) -> float:
    """Return where Student's t, moved so far, is beyond its critical values in 80 % of studies."""
    critical = float(stats.t.ppf(1 - alpha / 2, df))
    shares = (np.arange(GRID) + 0.5) / GRID
    spreads = critical * np.sqrt(stats.chi2.ppf(shares, df) / df)

    def missing(size: float) -> float:
        beyond = stats.norm.sf(spreads - size) + stats.norm.cdf(-spreads - size)
        return float(beyond.mean()) - POWER

    found: Any = optimize.brentq(missing, 0.0, 10.0 * critical)
    return float(found)
