"""Several transforming optimizers composed into one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from xformopt.optim.core import Group, ParamTransformingOptimizer
from xformopt.optim.inner import ParamGroups
from xformopt.transforms.link import Transforms, free_name

Transforming = Callable[..., ParamTransformingOptimizer]


class ChainedParamTransformingOptimizer(ParamTransformingOptimizer):
    """Composes the hooks of transforming optimizers, from left to right, around one inner step.

    A setting that two of them have, such as `q`, is one group key for the first and another,
    `q_2`, for the second, so that each keeps its own.

    Args:
        *transforming_optimizers: classes or partials of transforming optimizers.
        params: as for `ParamTransformingOptimizer`, like all that follow.
        InnerOpt: the optimizer that makes the update.
        param_ndim: the number of dimensions of an item.
        grad_scale: multiplies each gradient.
        grad_bias: is added to each gradient.
        transforms: links that run after the composed hooks.
        strict_ndim: whether too small a parameter is an error.
        defaults: default values for all parameter groups.
        **inner_opt_kwargs: settings of `InnerOpt`.

    >>> from functools import partial
    >>> from xformopt.optim import ClampedGradientOptimizer, TopQGradientOptimizer
    >>> x = torch.ones(3, requires_grad=True)
    >>> optim = ChainedParamTransformingOptimizer(
    ...     partial(TopQGradientOptimizer, q=0.33),
    ...     partial(ClampedGradientOptimizer, clamp_max=2.8),
    ...     params=[x], lr=1.0, param_ndim=None)
    >>> (torch.tensor([1.0, 2.0, 3.0]) * x).sum().backward()
    >>> optim.step()
    >>> x.grad
    tensor([0.0000, 2.0000, 2.8000])
    """

    def __init__(
        self,
        *transforming_optimizers: Transforming,
        params: ParamGroups | None = None,
        InnerOpt: Callable[..., Optimizer] | Optimizer = SGD,
        param_ndim: int | None = -1,
        grad_scale: float = 1.0,
        grad_bias: float = 0.0,
        transforms: Transforms = None,
        strict_ndim: bool = True,
        defaults: dict[str, Any] | None = None,
        **inner_opt_kwargs: Any,
    ) -> None:
        """Build the inner optimizer, then let each of the composed ones act on its groups."""
        parts = [_build_part(optimizer) for optimizer in transforming_optimizers]
        taken = _settings_of_inner(InnerOpt)
        self._chain: tuple[tuple[ParamTransformingOptimizer, dict[str, str]], ...] = ()
        own: dict[str, Any] = {}
        for part, settings in parts:
            keys = {name: free_name(name, {*taken, *own}) for name in settings}
            own.update({keys[name]: value for name, value in settings.items()})
            self._chain += ((part, keys),)
        super().__init__(
            params,
            InnerOpt,
            param_ndim=param_ndim,
            grad_scale=grad_scale,
            grad_bias=grad_bias,
            transforms=transforms,
            strict_ndim=strict_ndim,
            defaults={**own, **(defaults or {})},
            **inner_opt_kwargs,
        )
        self._share_inner()

    def _share_inner(self) -> None:
        for part, _ in self._chain:
            part.inner_opt = self.inner_opt

    def _pre_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        for part, keys in self._chain:
            part._pre_step_transform_(param, optim_group=_seen_by(keys, optim_group))

    def _post_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        for part, keys in self._chain:
            part._post_step_transform_(param, optim_group=_seen_by(keys, optim_group))

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        for part, keys in self._chain:
            part.strict_ndim = self.strict_ndim
            part._check_group(_seen_by(keys, group))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore, and let the composed optimizers share the inner one again."""
        super().__setstate__(state)
        self._share_inner()

    def __repr__(self) -> str:
        """Show the composed optimizers, last one first, as functions compose."""
        names = " ○ ".join(type(part).__name__ for part, _ in reversed(self._chain))
        return super().__repr__().replace(type(self).__name__, names or type(self).__name__, 1)


class _NoUpdate(Optimizer):
    """Holds the groups of a composed optimizer until it shares those of the whole."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


def _build_part(build: Transforming) -> tuple[ParamTransformingOptimizer, dict[str, Any]]:
    """Build one on a parameter of its own, to learn the settings that it brings."""
    cls = build.func if isinstance(build, partial) else build
    if not (isinstance(cls, type) and issubclass(cls, ParamTransformingOptimizer)):
        raise TypeError(
            "`transforming_optimizers` must be classes or partials of "
            f"ParamTransformingOptimizer, got {build!r}"
        )
    part = build([torch.zeros(1, 1)], InnerOpt=_NoUpdate, strict_ndim=False)
    if part.transforms:
        raise TypeError(
            f"links of {cls.__name__} would run out of order; give `transforms=` to "
            "ChainedParamTransformingOptimizer itself"
        )
    shared = {"param_ndim", "grad_scale", "grad_bias", "differentiable"}
    return part, {k: v for k, v in part.defaults.items() if k not in shared}


def _settings_of_inner(InnerOpt: Any) -> set[str]:
    try:
        built = InnerOpt if isinstance(InnerOpt, Optimizer) else InnerOpt([torch.zeros(1, 1)])
    except (TypeError, ValueError):
        return set()
    return set(built.defaults)


def _seen_by(keys: dict[str, str], group: Group) -> Group:
    """Return `group` under the names that a composed optimizer knows its settings by."""
    renamed = {name: group[key] for name, key in keys.items() if name != key}
    return {**group, **renamed} if renamed else group
