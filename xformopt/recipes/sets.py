"""Recipes over a set, derived from the balls: projected gradients, and Frank–Wolfe."""

from xformopt import transforms as T
from xformopt.geometry import BALLS, CONVEX, NORMS, Ball
from xformopt.recipes.recipe import Recipe

DESCENT: dict[str, T.Transform] = {"l1": T.topq_steepest}
"""Where projected descent steps otherwise than to the oracle's answer: on several entries."""

ATTACKS = {
    "l1": "Tramèr & Boneh 2019, arXiv:1904.13000",
    "l2": "Madry et al. 2018, arXiv:1706.06083",
    "linf": "Madry et al. 2018, arXiv:1706.06083",
    "topq": "Tramèr & Boneh 2019, arXiv:1904.13000",
}
"""The balls in which inputs are attacked."""


def _projected(name: str, ball: Ball) -> Recipe:
    """Descend, along the steepest direction where the set is the ball of a norm; then project."""
    step = DESCENT.get(name, ball.steepest) if name in NORMS else None
    links = [step, ball.project] if step else [ball.project]
    return Recipe(
        f"{'steepest' if step else 'gradient'} descent and projection over the {name} set",
        {link.name: {} for link in links},
        ATTACKS.get(name, "Goldstein 1964"),
        param_ndim=ball.param_ndim,
        purpose="attacks" if name in ATTACKS else "constraints",
    )


def _frank_wolfe(name: str, steepest: T.Transform, param_ndim: int) -> Recipe:
    return Recipe(
        f"Frank–Wolfe over the {name} set",
        {steepest.name: {}},
        "Jaggi 2013, ICML",
        inner="frank_wolfe",
        param_ndim=param_ndim,
        purpose="constraints",
    )


CONSTRAINED: dict[str, Recipe] = {
    **{f"pgd_{name}": _projected(name, BALLS[name]) for name in CONVEX},
    **{
        f"fw_{name}": _frank_wolfe(name, ball.steepest, ball.param_ndim)
        for name, ball in BALLS.items()
        if ball.steepest and name in CONVEX
    },
}
