"""Interleaved timing: every round runs every variant once, each from cold caches."""

from collections.abc import Callable
from statistics import quantiles
from time import perf_counter
from typing import Any

import torch

Times = dict[str, list[float]]
WARM_UP = 2
"""Rounds that are not counted: the first makes state, the second compiles."""
CACHE = 2**26
"""Bytes that are written between two timings, more than the caches hold."""


def interleave(
    variants: dict[str, Callable[[], None]],
    *,
    rounds: int,
    device: torch.device,
    prepare: dict[str, Callable[[], None]],
    start_together: Callable[[], Any] = lambda: None,
) -> Times:
    """Return the seconds of each variant in each round, after rounds that are not counted.

    Args:
        variants: what is timed, by name.
        rounds: how many timings of each are counted.
        device: where they run.
        prepare: what is called before a variant, untimed.
        start_together: called last before each timing; of several ranks it waits for all.
    """
    trash = torch.zeros(CACHE, dtype=torch.uint8, device=device)
    times: Times = {name: [] for name in variants}
    for count in range(WARM_UP + rounds):
        for name, run in variants.items():
            prepare.get(name, lambda: None)()
            trash.add_(1)
            _wait(device)
            start_together()
            start = perf_counter()
            run()
            _wait(device)
            if count >= WARM_UP:
                times[name].append(perf_counter() - start)
    return times


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the quartiles, the median in the middle.

    >>> spread([3.0, 1.0, 2.0])
    (1.5, 2.0, 2.5)
    """
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
