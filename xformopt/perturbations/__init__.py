"""Perturbations of inputs, and every name that `rai_toolbox.perturbations` has."""

from xformopt.perturbations.additive import AdditivePerturbation, PerturbationModel
from xformopt.perturbations.ascent import gradient_ascent, random_restart
from xformopt.perturbations.modes import evaluating, freeze, frozen, negate
from xformopt.perturbations.starts import (
    uniform_like_l1_n_ball_,
    uniform_like_l2_n_ball_,
    uniform_like_linf_n_ball_,
)

__all__ = [
    "AdditivePerturbation",
    "PerturbationModel",
    "evaluating",
    "freeze",
    "frozen",
    "gradient_ascent",
    "negate",
    "random_restart",
    "uniform_like_l1_n_ball_",
    "uniform_like_l2_n_ball_",
    "uniform_like_linf_n_ball_",
]
