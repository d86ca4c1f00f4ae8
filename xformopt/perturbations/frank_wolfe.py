"""Attacks without projections: steps to the vertices of the ball that the gradient names."""

from torch import Tensor

from xformopt.geometry import BALLS, steepest_of
from xformopt.optim import FrankWolfe, ParamTransformingOptimizer
from xformopt.perturbations.making import attack, attacks
from xformopt.perturbations.problem import Problem
from xformopt.transforms.settings import Count, Positive


def fw(
    problem: Problem, *, steps: Count = 40, lr: Positive = 2.0, random_start: bool = True
) -> None:
    """Frank–Wolfe: δ ← (1 - γ) δ + γ v, where v is the vertex of the ball along the gradient.

    γ = lr / (lr + k) at step k = 0, 1, …; after each step δ is moved into the box of pixels, which
    leaves it in the ball. A vertex of the l1 ball is a single entry that is moved by the radius, of
    which the box leaves 1 at most: above that, `pgd_l1` finds much more.

    Source: Frank & Wolfe 1956; Chen et al. 2020, A Frank-Wolfe framework for efficient and
    effective adversarial attacks, AAAI.
    """
    _step(problem, problem.start(random=random_start), steps, lr)


@attack("nuclear", draws=False)
def fw_nuclear(problem: Problem, *, steps: Count = 40, lr: Positive = 2.0) -> None:
    """Frank–Wolfe in the nuclear norm, as `fw_l2`: each channel is a matrix with its own ball.

    Source: Kazemi et al. 2020, Trace-norm adversarial examples, arXiv:2007.01855.
    """
    _step(problem, problem.start(random=False), steps, lr)


def _step(problem: Problem, delta: Tensor, steps: int, lr: float) -> None:
    optimizer = ParamTransformingOptimizer(
        [delta],
        FrankWolfe,
        transforms=[steepest_of(problem.norm)()],
        param_ndim=BALLS[problem.norm].param_ndim,
        lr=lr,
        lmo_scaling_factor=problem.epsilon,
        maximize=True,
    )
    for _ in range(steps):
        _, delta.grad = problem.ascent(delta)
        optimizer.step()
        problem.project_(delta)
    problem.end(delta)


fw_linf, fw_l2, fw_l1 = attacks(fw, "linf", "l2", "l1")
