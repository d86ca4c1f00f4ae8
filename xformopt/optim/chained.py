"""Several transforming optimizers composed into one."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from xformopt.optim.bound import Bound
from xformopt.optim.core import Group, ParamTransformingOptimizer
from xformopt.optim.hooks import HOOKS, NOT_RENAMED, Hook, seen_by
from xformopt.optim.inner import ParamGroups
from xformopt.refused import RefusedType
from xformopt.transforms.link import Transforms, free_name

Transforming = Callable[..., ParamTransformingOptimizer]
Composed = tuple[ParamTransformingOptimizer, dict[str, str]]
"""One of those composed, and the group keys of the settings that it adds."""


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
        """Build the inner optimizer, then each of the composed ones around it."""
        if not isinstance(params, torch.Tensor | torch.nn.Module | None):
            params = list(params)
        self._parts: list[Composed] = []
        super().__init__(
            params,
            InnerOpt,
            param_ndim=param_ndim,
            grad_scale=grad_scale,
            grad_bias=grad_bias,
            transforms=transforms,
            strict_ndim=strict_ndim,
            defaults=defaults,
            **inner_opt_kwargs,
        )
        for build in transforming_optimizers:
            self._parts.append(self._compose(build, params))
            for group in self.param_groups:
                self._check_group(group)

    def _compose(self, build: Transforming, params: Any) -> Composed:
        """Build one around a stand-in with groups of its own; take over the settings that it adds.

        A key that another has is another key here: `q_2`.
        """
        owned = {name for _, keys in self._parts for name in keys.values()}
        stand_in = _StandIn([self._without(owned, group) for group in self.param_groups])
        part = _build(build, params, stand_in)
        added = [key for key in part.defaults if key in owned or key not in self.defaults]
        keys = {key: free_name(key, self.defaults) for key in added}
        pairs = zip(self.param_groups, part.param_groups, strict=True)
        for ours, theirs in ((self.defaults, part.defaults), *pairs):
            for key, name in keys.items():
                ours.setdefault(name, theirs[key])
        part.inner_opt, part.strict_ndim = self.inner_opt, self.strict_ndim
        return part, keys

    def _without(self, owned: set[str], group: Group) -> Group:
        seen = {key: value for key, value in group.items() if key not in owned}
        return seen if self.strict_ndim else {**seen, "param_ndim": None}

    def _pre_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        self._call("pre", param, optim_group)

    def _post_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        self._call("post", param, optim_group)

    def _call(self, when: str, param: Tensor, optim_group: Group) -> None:
        for part, keys in self._parts:
            getattr(part, HOOKS[when])(param, optim_group=seen_by(keys, optim_group))

    def _acts(self, when: str, keys: Mapping[str, str] = NOT_RENAMED) -> list[Hook | Bound]:
        """Return what the composed ones do, one after the other, unless a subclass overrides it."""
        name = HOOKS[when]
        ours = getattr(ChainedParamTransformingOptimizer, name)
        if name in vars(self) or getattr(type(self), name) is not ours:
            return super()._acts(when, keys)
        return [
            act
            for part, own in self._parts
            for act in part._acts(when, {k: keys.get(v, v) for k, v in own.items()})
        ]

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        for part, keys in self._parts:
            part._check_group(seen_by(keys, group))

    def __repr__(self) -> str:
        """Show the composed optimizers, last one first, as functions compose."""
        names = " ○ ".join(type(part).__name__ for part, _ in reversed(self._parts))
        return super().__repr__().replace(type(self).__name__, names or type(self).__name__, 1)


class _StandIn(Optimizer):
    """Holds groups for an optimizer that is being composed; it makes no steps."""

    def __init__(self, groups: list[Group]) -> None:
        super().__init__(groups, {})


def _build(build: Transforming, params: Any, inner: Optimizer) -> ParamTransformingOptimizer:
    cls = build.func if isinstance(build, partial) else build
    if not (isinstance(cls, type) and issubclass(cls, ParamTransformingOptimizer)):
        raise RefusedType(
            "`transforming_optimizers` must be classes or partials of "
            f"ParamTransformingOptimizer, got {build!r}"
        )
    part = build(params, InnerOpt=inner)
    if part.transforms:
        raise RefusedType(
            f"links of {cls.__name__} would run out of order; give `transforms=` to "
            "ChainedParamTransformingOptimizer itself"
        )
    return part
