"""Perturbations of inputs, and every name that `rai_toolbox.perturbations` has."""

from xformopt.perturbations.additive import AdditivePerturbation, PerturbationModel
from xformopt.perturbations.apgd import apgd_l2, apgd_linf
from xformopt.perturbations.ascent import gradient_ascent, random_restart
from xformopt.perturbations.attack import Attack
from xformopt.perturbations.checks import AttackWarning, remarks
from xformopt.perturbations.corruptions import CORRUPTIONS, Corruption, corruption
from xformopt.perturbations.frank_wolfe import fw_l1, fw_l2, fw_linf, fw_nuclear
from xformopt.perturbations.making import ATTACKS, Maker, attack, attacks
from xformopt.perturbations.modes import evaluating, freeze, frozen, negate
from xformopt.perturbations.pgd import fgsm, mi_fgsm, pgd_l1, pgd_l2, pgd_linf
from xformopt.perturbations.problem import Problem
from xformopt.perturbations.square import square_l2, square_linf
from xformopt.perturbations.starts import (
    uniform_like_l1_n_ball_,
    uniform_like_l2_n_ball_,
    uniform_like_linf_n_ball_,
)
from xformopt.perturbations.worst import worst_of

__all__ = [
    "ATTACKS",
    "CORRUPTIONS",
    "AdditivePerturbation",
    "Attack",
    "AttackWarning",
    "Corruption",
    "Maker",
    "PerturbationModel",
    "Problem",
    "apgd_l2",
    "apgd_linf",
    "attack",
    "attacks",
    "corruption",
    "evaluating",
    "fgsm",
    "freeze",
    "frozen",
    "fw_l1",
    "fw_l2",
    "fw_linf",
    "fw_nuclear",
    "gradient_ascent",
    "mi_fgsm",
    "negate",
    "pgd_l1",
    "pgd_l2",
    "pgd_linf",
    "random_restart",
    "remarks",
    "square_l2",
    "square_linf",
    "uniform_like_l1_n_ball_",
    "uniform_like_l2_n_ball_",
    "uniform_like_linf_n_ball_",
    "worst_of",
]
