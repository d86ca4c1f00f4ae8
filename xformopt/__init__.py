"""Any gradient or parameter transform, around any torch optimizer, from one command line."""

from xformopt import optim, transforms
from xformopt.optim import ChainedParamTransformingOptimizer, ParamTransformingOptimizer, to_batch
from xformopt.transforms import transform

__all__ = [
    "ChainedParamTransformingOptimizer",
    "ParamTransformingOptimizer",
    "optim",
    "to_batch",
    "transform",
    "transforms",
]
