"""Attacks that follow the gradient by our own links: projected, signed, with momentum."""

from torch import Tensor
from torch.optim import SGD

from xformopt import transforms as T
from xformopt.geometry import BALLS, steepest_of
from xformopt.optim import ParamTransformingOptimizer
from xformopt.perturbations.making import attack, attacks
from xformopt.perturbations.problem import Problem
from xformopt.transforms import Link
from xformopt.transforms.settings import Count, Fraction, Positive

REACH = 2.5
"""The length of all steps together, in radii: from any point of the ball to any other."""


def pgd(
    problem: Problem,
    *,
    steps: Count = 40,
    step_size: Positive | None = None,
    random_start: bool = True,
) -> None:
    """Projected gradient ascent: steepest steps in the norm, each projected onto the set.

    δ ← P(δ + step_size · s(∇ loss)), P onto ‖δ‖ <= epsilon, then onto 0 <= x + δ <= 1

    s is the sign for l∞, and the normalised gradient for l2. `step_size` is 2.5 epsilon / steps, if
    it is not given; the start is drawn from the ball, or the image.

    Source: Madry et al. 2018, Towards deep learning models resistant to adversarial attacks, ICLR.
    """
    steepest = steepest_of(problem.norm)()
    climb(problem, problem.start(random=random_start), [steepest], steps, step_size)


@attack("l1")
def pgd_l1(
    problem: Problem,
    *,
    steps: Count = 40,
    step_size: Positive | None = None,
    random_start: bool = True,
    q: Fraction = 0.95,
) -> None:
    """Projected gradient ascent in l1, along the largest entries of the gradient.

    As in `pgd_l2`, where s are the signs of the share 1 - `q` of the largest entries, divided by
    their number.

    Source: Tramèr & Boneh 2019, Adversarial training and robustness for multiple perturbations,
    NeurIPS.
    """
    steepest = T.topq_steepest(q=q)
    climb(problem, problem.start(random=random_start), [steepest], steps, step_size)


@attack("linf")
def fgsm(problem: Problem, *, random_start: bool = False) -> None:
    """One step of the sign, as long as the radius.

    Source: Goodfellow et al. 2015, Explaining and harnessing adversarial examples, ICLR.
    """
    climb(problem, problem.start(random=random_start), [T.sign()], 1, problem.epsilon)


@attack("linf", draws=False)
def mi_fgsm(
    problem: Problem,
    *,
    steps: Count = 10,
    step_size: Positive | None = None,
    decay: Fraction = 1.0,
) -> None:
    """Steps of the sign of a sum of gradients, each divided by its l1 norm.

    g ← decay · g + ∇ loss / ‖∇ loss‖₁; δ ← P(δ + step_size · sign(g)), step_size epsilon / steps

    Source: Dong et al. 2018, Boosting adversarial attacks with momentum, CVPR.
    """
    chain = [T.l1_norm(), T.momentum(decay=decay), T.sign()]
    step_size = problem.epsilon / steps if step_size is None else step_size
    climb(problem, problem.start(random=False), chain, steps, step_size)


def climb(
    problem: Problem, delta: Tensor, chain: list[Link], steps: int, step_size: float | None
) -> None:
    """Make steps along what a chain makes of the gradient, each projected onto the set."""
    step_size = REACH * problem.epsilon / steps if step_size is None else step_size
    optimizer = ParamTransformingOptimizer(
        [delta], SGD, lr=step_size, maximize=True, transforms=[*chain, *_onto_set(problem)]
    )
    for _ in range(steps):
        _, delta.grad = problem.ascent(delta)
        optimizer.step()
    problem.end(delta)


def _onto_set(problem: Problem) -> list[Link]:
    """Return the links that project onto the set: of the l∞ ball, a box of its own an image."""
    low, high, epsilon = problem.low, problem.high, problem.epsilon
    if problem.norm == "linf":
        return [T.box(min=low.clamp_min(-epsilon), max=high.clamp_max(epsilon))]
    return [BALLS[problem.norm].project(radius=epsilon), T.box(min=low, max=high)]


pgd_linf, pgd_l2 = attacks(pgd, "linf", "l2")
