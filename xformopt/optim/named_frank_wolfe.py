"""The names of `rai_toolbox.optim` that step by `FrankWolfe`, inside of a ball."""

from dataclasses import replace
from typing import Any

from xformopt.optim.core import Group, ParamTransformingOptimizer
from xformopt.optim.frank_wolfe import FrankWolfe
from xformopt.optim.hooks import LinkHook
from xformopt.optim.inner import ParamGroups
from xformopt.optim.named import (
    L1qNormedGradientOptim,
    L2NormedGradientOptim,
    SignedGradientOptim,
)
from xformopt.refused import Refused, RefusedType
from xformopt.transforms import l1_steepest, l2_ball


class _InsideBall(ParamTransformingOptimizer):
    """Steps by `FrankWolfe`."""

    def __init__(
        self,
        params: ParamGroups,
        *,
        epsilon: float,
        lr: float = 2.0,
        use_default_lr_schedule: bool = True,
        param_ndim: int | None = -1,
        **kwargs: Any,
    ) -> None:
        """Take the radius `epsilon` of the ball, and the settings of `FrankWolfe`."""
        name = type(self).__name__
        if "InnerOpt" in kwargs:
            raise RefusedType(f"{name} takes no `InnerOpt`: it steps by FrankWolfe")
        replace(l2_ball.settings["radius"], name="epsilon").check(name, epsilon)
        super().__init__(
            params,
            FrankWolfe,
            param_ndim=param_ndim,
            lmo_scaling_factor=epsilon,
            lr=lr,
            use_default_lr_schedule=use_default_lr_schedule,
            **kwargs,
        )

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        if "epsilon" in group:
            raise Refused(
                f"`epsilon` of a group (={group['epsilon']!r}) has no effect; the radius of a "
                "group is `lmo_scaling_factor`"
            )


class L1FrankWolfe(_InsideBall):
    """Frank–Wolfe over the l1 ball of radius `epsilon`, for each item."""

    _pre_step_transform_: Any = LinkHook(l1_steepest)


class L1qFrankWolfe(_InsideBall, L1qNormedGradientOptim):
    """Frank–Wolfe over the top-q l1 ball of radius `epsilon`, for each item."""


class L2FrankWolfe(_InsideBall, L2NormedGradientOptim):
    """Frank–Wolfe over the l2 ball of radius `epsilon`, for each item."""


class LinfFrankWolfe(_InsideBall, SignedGradientOptim):
    """Frank–Wolfe over the l∞ ball of radius `epsilon`."""
