"""The balls, once: what steepest descent, Frank–Wolfe and projection share."""

from typing import NamedTuple

from xformopt import transforms as T
from xformopt.refused import Refused


class Ball(NamedTuple):
    """A set around the origin, or a simplex or box.

    `steepest` replaces a gradient g by -s, where s minimises ⟨g, s⟩ over the set of radius 1 (the
    linear minimisation oracle); None where there is none, as on an unbounded set. `project` is the
    Euclidean projection. `param_ndim` is that of an item: -1, or 1 for vectors and 2 for matrices.
    """

    steepest: T.Transform | None
    project: T.Transform
    param_ndim: int = -1


BALLS: dict[str, Ball] = {
    "l1": Ball(T.l1_steepest, T.l1_ball),
    "l2": Ball(T.l2_norm, T.l2_ball),
    "linf": Ball(T.sign, T.linf_ball),
    "topq": Ball(T.topq_steepest, T.topq_ball),
    "box": Ball(T.box_steepest, T.box),
    "simplex": Ball(T.simplex_steepest, T.simplex, param_ndim=1),
    "nonnegative": Ball(None, T.nonnegative),
    "l2_sphere": Ball(T.l2_norm, T.l2_sphere),
    "spectral": Ball(T.spectral_steepest, T.spectral_ball, param_ndim=2),
    "nuclear": Ball(T.nuclear_steepest, T.nuclear_ball, param_ndim=2),
}
"""By name; recipes `fw_<name>` step to the oracle's answer, `pgd_<name>` step and project."""

NORMS = ["l1", "l2", "linf", "topq", "spectral", "nuclear"]
"""The balls of norms, whose oracle's answer is a direction to step along from anywhere."""

CONVEX = [name for name in BALLS if name != "l2_sphere"]
"""The convex ones, on which Frank–Wolfe and projected gradients are sound."""


def steepest_of(name: str) -> T.Transform:
    """Return the oracle of a ball that has one.

    >>> steepest_of("linf")
    <transform sign of xformopt.transforms.steepest>
    """
    steepest = BALLS[name].steepest
    if steepest is None:
        raise Refused("norm", "that of a bounded set, which has a steepest direction", name)
    return steepest
