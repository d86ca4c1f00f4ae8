"""The core optimizer, and every name that `rai_toolbox.optim` has."""

from xformopt.optim.averaged import averages
from xformopt.optim.batching import to_batch
from xformopt.optim.catalogue import inner_optimizers
from xformopt.optim.chained import ChainedParamTransformingOptimizer
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.frank_wolfe import FrankWolfe
from xformopt.optim.named import (
    ClampedGradientOptimizer,
    ClampedParameterOptimizer,
    L1NormedGradientOptim,
    L1qNormedGradientOptim,
    L2NormedGradientOptim,
    L2ProjectedOptim,
    LinfProjectedOptim,
    SignedGradientOptim,
    TopQGradientOptimizer,
)
from xformopt.optim.named_frank_wolfe import (
    L1FrankWolfe,
    L1qFrankWolfe,
    L2FrankWolfe,
    LinfFrankWolfe,
)
from xformopt.optim.route import Route
from xformopt.optim.routing import RoutedOptimizer, parts_of
from xformopt.optim.rows import acts_by_row
from xformopt.optim.watching import changed, watched

__all__ = [
    "ChainedParamTransformingOptimizer",
    "ClampedGradientOptimizer",
    "ClampedParameterOptimizer",
    "FrankWolfe",
    "L1FrankWolfe",
    "L1NormedGradientOptim",
    "L1qFrankWolfe",
    "L1qNormedGradientOptim",
    "L2FrankWolfe",
    "L2NormedGradientOptim",
    "L2ProjectedOptim",
    "LinfFrankWolfe",
    "LinfProjectedOptim",
    "ParamTransformingOptimizer",
    "Route",
    "RoutedOptimizer",
    "SignedGradientOptim",
    "TopQGradientOptimizer",
    "acts_by_row",
    "averages",
    "changed",
    "inner_optimizers",
    "parts_of",
    "to_batch",
    "watched",
]
