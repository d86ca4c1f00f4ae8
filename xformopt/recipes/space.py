"""Where the settings of an optimizer are searched: each has a space of its own."""

from math import exp, log
from typing import NamedTuple


class Range(NamedTuple):
    """A stretch of numbers, of which each factor is as likely as another, unless `log=False`."""

    low: float
    high: float
    log: bool = True

    def at(self, share: float) -> float:
        """Return the number at a share of the way, in four digits.

        Between whole numbers it is one.

        >>> Range(0.01, 100.0).at(0.5), Range(0.0, 0.9, log=False).at(0.5), Range(1, 100).at(0.4)
        (1.0, 0.45, 6)
        """
        if self.log:
            found = exp(log(self.low) + share * (log(self.high) - log(self.low)))
        else:
            found = self.low + share * (self.high - self.low)
        is_whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(found) if is_whole else float(f"{found:.4g}")

    def __str__(self) -> str:
        """Show the ends."""
        return f"{self.low:g} to {self.high:g}" + (" by factors" if self.log else "")


Space = dict[str, Range]
"""Ranges by key, below `optim` in a config: `lr_scale`, `inner.weight_decay`."""

RATE: Space = {"lr_scale": Range(1 / 32, 32.0)}
"""That of the learning rates around their defaults, which every optimizer has."""

DECADE = 10.0
"""How far a weight decay is searched, to either side of its default."""


def around(default: float) -> Range:
    """Return a decade to either side.

    >>> print(around(0.01))
    0.001 to 0.1 by factors
    """
    return Range(default / DECADE, default * DECADE)
