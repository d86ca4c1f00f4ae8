"""Floats as fractions of whole numbers, which a compiler keeps symbolic."""

from math import frexp, isfinite
from typing import Any

MANTISSA = 53
"""The bits of a float64's digits."""


def as_fraction(number: Any) -> Any:
    """Return whole numbers (n, a, b) with number = n / a / b to the bit; None where there are none.

    They fit in 64 bits for sizes from 2**-71 to 2**48. A tuple gives a tuple of them.

    >>> as_fraction(0.75), as_fraction((0.5, float("inf")))
    ((6755399441055744, 67108864, 134217728), None)
    """
    if isinstance(number, tuple):
        parts = tuple(map(as_fraction, number))
        return None if None in parts else parts
    digits, exponent = frexp(number)
    shift = MANTISSA - exponent
    if not isfinite(number) or not 4 <= shift <= 124:
        return None
    return int(digits * 2**MANTISSA), 2 ** (shift // 2), 2 ** (shift - shift // 2)


def from_fraction(fraction: Any) -> Any:
    """Return the number that `as_fraction` was given.

    >>> from_fraction(as_fraction(0.1)), from_fraction(as_fraction((0.9, 0.999)))
    (0.1, (0.9, 0.999))
    """
    if isinstance(fraction[0], tuple):
        return tuple(from_fraction(part) for part in fraction)
    whole, a, b = fraction
    return whole / a / b
