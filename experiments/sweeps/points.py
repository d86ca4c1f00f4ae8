"""Where in a space trials lie: spread evenly, or at random; more of them begin with the same."""

from collections.abc import Mapping
from typing import Literal, get_args

from xformopt.recipes import Range
from xformopt.refused import Refused

Sampler = Literal["halton", "random"]


def check_sampler(sampler: str) -> None:
    """Refuse what is no way to draw."""
    if sampler not in get_args(Sampler):
        raise Refused("sweep.sampler", f"one of {', '.join(get_args(Sampler))}", sampler)


def points(space: Mapping[str, Range], count: int, sampler: Sampler) -> list[dict[str, float]]:
    """Return what each trial sets; trials of two spaces lie at the same shares of their ranges.

    `halton` is a scrambled sequence, which leaves no part of a space empty for long.

    >>> few = points({"lr": Range(0.01, 1.0)}, 2, "halton")
    >>> few == points({"lr": Range(0.01, 1.0)}, 9, "halton")[:2]
    True

    Source: Halton 1960; scrambled after Owen 2017, A randomized Halton algorithm in R.
    """
    shares = _shares(len(space), count, sampler)
    keys = space.items()
    return [{k: own.at(x) for (k, own), x in zip(keys, row, strict=True)} for row in shares]


def _shares(dims: int, count: int, sampler: Sampler) -> list[list[float]]:
    if not dims:
        return [[]] * count
    if sampler == "random":
        import numpy as np

        return np.random.default_rng(0).random((count, dims)).tolist()
    from scipy.stats import qmc

    return qmc.Halton(dims, scramble=True, rng=0).random(count).tolist()
