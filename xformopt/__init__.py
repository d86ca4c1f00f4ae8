"""Any gradient or parameter transform, around any torch optimizer, from one command line."""

from importlib.metadata import PackageNotFoundError, version

from xformopt import optim, perturbations, transforms
from xformopt.optim import ChainedParamTransformingOptimizer, ParamTransformingOptimizer, to_batch
from xformopt.perturbations import evaluating, freeze, frozen, negate
from xformopt.transforms import transform

try:
    __version__ = version("xformopt")
except PackageNotFoundError:
    __version__ = "unknown: not installed"

__all__ = [
    "ChainedParamTransformingOptimizer",
    "ParamTransformingOptimizer",
    "evaluating",
    "freeze",
    "frozen",
    "negate",
    "optim",
    "perturbations",
    "to_batch",
    "transform",
    "transforms",
]
