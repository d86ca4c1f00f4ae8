"""Auto-PGD: a momentum, and steps that are halved, image by image, where they no longer help."""

from typing import NamedTuple

import torch
from torch import Tensor

from xformopt.geometry import steepest_of
from xformopt.perturbations.making import attacks
from xformopt.perturbations.problem import Problem
from xformopt.transforms.items import item_norm
from xformopt.transforms.settings import Count, Fraction

FIRST, SHRINKS, LEAST = 0.22, 0.03, 0.06
"""The shares of the steps: up to the first check, by how much less each time, and at least."""

MOMENTUM = 0.75
"""The share of the new step; the rest goes on in the direction of the one before."""


class Best(NamedTuple):
    """Where the loss of each image was largest, with its gradient there."""

    delta: Tensor
    gradient: Tensor
    losses: Tensor

    def with_better(self, other: "Best") -> "Best":
        """Return the better of two, image by image."""
        wins = other.losses > self.losses
        return chosen(wins, other, self)


def chosen(wins: Tensor, one: Best, other: Best) -> Best:
    """Return one where it wins, the other elsewhere."""
    wide = wins.view(-1, 1, 1, 1)
    return Best(
        torch.where(wide, one.delta, other.delta),
        torch.where(wide, one.gradient, other.gradient),
        torch.where(wins, one.losses, other.losses),
    )


def apgd(problem: Problem, *, steps: Count = 100, rho: Fraction = 0.75) -> None:
    """Auto-PGD: projected ascent with momentum, whose steps begin at 2 epsilon and are halved.

    z = P(δ + η s(∇ loss)); δ ← P(δ + 0.75 (z - δ) + 0.25 (δ - δ'))

    At checks, after 0.22 of the steps and then after ever fewer, η of an image is halved, and it
    goes on from its best point, where its loss rose in less than the share `rho` of the steps, or
    neither η nor the best loss have changed since the last check.

    Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML, algorithm 1.
    """
    delta = before = _start(problem)
    losses, gradient = problem.ascent(delta)
    at = best = Best(delta, gradient, losses)
    size = delta.new_full((len(delta), 1, 1, 1), 2 * problem.epsilon)
    rose, halved, checked = torch.zeros_like(at.losses), torch.ones_like(at.losses) > 0, best.losses
    checks = set(_checks(steps))
    since = 0
    for step in range(1, steps + 1):
        delta, before = _moved(problem, at, before, size, first=step == 1), at.delta
        losses, gradient = problem.ascent(delta)
        rose, since = rose + (losses > at.losses), since + 1
        at = Best(delta, gradient, losses)
        best = best.with_better(at)
        if step in checks:
            halves = (rose <= rho * since) | (~halved & (best.losses <= checked))
            size = torch.where(halves.view(-1, 1, 1, 1), size / 2, size)
            at = chosen(halves, best, at)
            rose, since, halved, checked = torch.zeros_like(rose), 0, halves, best.losses


def _moved(problem: Problem, at: Best, before: Tensor, size: Tensor, *, first: bool) -> Tensor:
    """Return the next point: a step along the gradient, and some of the step before."""
    ahead = at.gradient.clone()
    steepest_of(problem.norm).fn(ahead)
    ahead = at.delta + size * ahead
    problem.project_(ahead)
    if first:
        return ahead
    moved = at.delta + MOMENTUM * (ahead - at.delta) + (1 - MOMENTUM) * (at.delta - before)
    problem.project_(moved)
    return moved


def _start(problem: Problem) -> Tensor:
    """Return a random point, moved outwards to the surface of the ball, then into the box."""
    drawn = torch.empty_like(problem.images)
    if problem.norm == "linf":
        drawn.uniform_(-1, 1, generator=problem.generator)
    else:
        drawn.normal_(generator=problem.generator)
    drawn.mul_(problem.epsilon / item_norm(drawn, torch.inf if problem.norm == "linf" else 2))
    problem.project_(drawn)
    return drawn


def _checks(steps: int) -> list[int]:
    """Return after which steps the sizes of steps are checked.

    >>> _checks(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    found, gap = [0], max(1, int(FIRST * steps))
    while found[-1] + gap <= steps:
        found.append(found[-1] + gap)
        gap = max(gap - max(1, int(SHRINKS * steps)), max(1, int(LEAST * steps)))
    return found[1:]


apgd_linf, apgd_l2 = attacks(apgd, "linf", "l2")
