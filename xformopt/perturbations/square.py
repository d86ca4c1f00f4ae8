"""The square attack: a random search by squares, which asks for no gradient."""

from math import sqrt

import torch
from torch import Tensor

from xformopt.perturbations.making import attacks
from xformopt.perturbations.problem import Problem, tiny
from xformopt.transforms.settings import Count, Fraction

HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After so many of 10,000 queries the share of the pixels in a square is halved."""


def square(problem: Problem, *, queries: Count = 5000, share: Fraction = 0.8) -> None:
    """Random search: a change within a square of random place is tried, and kept where it helps.

    For l∞ it starts from stripes, and a square gets ±epsilon in each channel. For l2 it starts from
    bumps on a grid, and a square gets a new bump, of what is left of the radius and of the length
    that it and another square had, which loses it. The share of an image that a square covers
    begins at `share`, and is halved at times.

    Source: Andriushchenko et al. 2020, Square attack: a query-efficient black-box adversarial
    attack via random search, ECCV, algorithms 1 to 3.
    """
    start, change = (_stripes, _recolour) if problem.norm == "linf" else (_bumps, _regrow)
    with torch.no_grad():
        problem.tried(start(problem))
        for query in range(1, queries):
            left = problem.left()
            if not len(left):
                return
            delta = problem.worst[left]
            change(problem, delta, _side(problem, query / queries, share))
            problem.project_(delta, left)
            problem.tried(delta, left)


def _side(problem: Problem, passed: float, share: float) -> int:
    """Return the side of the squares when a share of the queries has passed."""
    height, width = problem.images.shape[2:]
    halved = sum(10_000 * passed > limit for limit in HALVED)
    side = round(sqrt(share / 2**halved * height * width))
    return min(max(side, 1 if problem.norm == "linf" else 3), height, width)


def _stripes(problem: Problem) -> Tensor:
    """Return vertical stripes of ±epsilon in each channel."""
    count, channels, height, width = problem.images.shape
    delta = problem.epsilon * _signs(problem, count, channels, 1, width)
    delta = delta.repeat(1, 1, height, 1)
    problem.project_(delta)
    return delta


def _recolour(problem: Problem, delta: Tensor, side: int) -> None:
    """Put ±epsilon into each channel of a square, at a place of its own in each image."""
    count, channels, *sides = delta.shape
    inside = torch.ones((), dtype=torch.bool, device=delta.device)
    for axis, length in enumerate(sides):
        first = _drawn(problem, length - side + 1, count).view(-1, 1, 1, 1)
        place = torch.arange(length, device=delta.device)
        place = place.view(-1, 1) if axis == 0 else place
        inside = inside & (place >= first) & (place < first + side)
    colours = problem.epsilon * _signs(problem, count, channels, 1, 1)
    delta.copy_(torch.where(inside, colours, delta))


def _bumps(problem: Problem) -> Tensor:
    """Return a grid of bumps, of a sign in each channel."""
    count, channels, height, width = problem.images.shape
    delta = torch.zeros_like(problem.images)
    side = min(max(3, height // 5), height, width)
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            bump = _bump(problem, side) * _signs(problem, count, channels, 1, 1)
            delta[:, :, top : top + side, left : left + side] = bump
    delta.mul_(problem.epsilon / _size(delta).clamp_min(tiny(delta)))
    problem.project_(delta)
    return delta


def _regrow(problem: Problem, delta: Tensor, side: int) -> None:
    """Give a square a new bump beside what it holds, and the length that another loses."""
    count, channels = delta.shape[:2]
    one, other = (_window(problem, delta, side) for _ in range(2))
    left = (problem.epsilon**2 - _size(delta).square()).clamp_min(0)
    own = _size(one, (2, 3))
    held = own.square() + _size(other, (2, 3)).square()
    bump = _bump(problem, side) * _signs(problem, count, channels, 1, 1)
    bump += one / own.clamp_min(tiny(own))
    other.zero_()
    one.copy_(bump / _size(bump, (2, 3)).clamp_min(tiny(bump)) * (held + left / channels).sqrt())


def _window(problem: Problem, delta: Tensor, side: int) -> Tensor:
    """Return a view of a square, at the same random place of all images."""
    top, left = (int(_drawn(problem, length - side + 1, 1)) for length in delta.shape[2:])
    return delta[:, :, top : top + side, left : left + side]


def _bump(problem: Problem, side: int) -> Tensor:
    """Return two hills of opposite signs side by side, of length 1 together, upright or not."""
    half = side // 2
    hills = torch.cat([_hill(half, side), -_hill(side - half, side)])
    bump = (hills / hills.norm()).to(problem.images)
    return bump if _signs(problem, 1) > 0 else bump.T


def _hill(rows: int, columns: int) -> Tensor:
    """Return Σ 1 / r² over rings around the middle, of which the smaller lie on all before."""
    down, across = ((torch.arange(n) - n // 2).abs() for n in (rows, columns))
    rings = torch.maximum(down[:, None], across[None, :])
    weights = 1 / torch.arange(1, max(rows, columns) + 1, dtype=torch.float32).square()
    return weights.flip(0).cumsum(0).flip(0)[rings]


def _size(delta: Tensor, over: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    return torch.linalg.vector_norm(delta, dim=over, keepdim=True)


def _signs(problem: Problem, *shape: int) -> Tensor:
    drawn = _drawn(problem, 2, *shape)
    return (2 * drawn - 1).to(problem.images.dtype)


def _drawn(problem: Problem, below: int, *shape: int) -> Tensor:
    device = problem.generator.device
    return torch.randint(below, shape, generator=problem.generator, device=device)


square_linf, square_l2 = attacks(square, "linf", "l2", loss="margin", gradients=False)
