"""Several transforming optimizers composed into one."""

from collections.abc import Callable, Iterator, MutableMapping
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
        """Build the inner optimizer, then each of the composed ones around it."""
        params = params if params is None or isinstance(params, torch.Tensor) else list(params)
        self._chain: tuple[tuple[ParamTransformingOptimizer, dict[str, str]], ...] = ()
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
        owned: set[str] = set()
        for build in transforming_optimizers:
            self._chain += (self._compose(build, params, owned),)

    def _compose(
        self, build: Transforming, params: Any, owned: set[str]
    ) -> tuple[ParamTransformingOptimizer, dict[str, str]]:
        """Build one around the shared inner optimizer; name anew the settings that others own."""
        holders = [self.defaults, *self.param_groups]
        aside = [{k: holder.pop(k) for k in owned if k in holder} for holder in holders]
        for holder, held in zip(holders, aside, strict=True):
            held["param_ndim"] = holder["param_ndim"]
            holder["param_ndim"] = held["param_ndim"] if self.strict_ndim else None
        given = set(self.defaults)
        part = _build(build, params, self.inner_opt)
        added = [key for key in self.defaults if key not in given]
        keys = {key: free_name(key, {*given, *owned}) for key in added}
        for holder, held in zip(holders, aside, strict=True):
            values = {keys[key]: holder.pop(key) for key in added}
            holder.update({**values, **{k: holder[k] for k in values if k in holder}, **held})
        owned.update(keys.values())
        part.strict_ndim = self.strict_ndim
        return part, keys

    def _pre_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        for part, keys in self._chain:
            part._pre_step_transform_(param, optim_group=_seen_by(keys, optim_group))

    def _post_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        for part, keys in self._chain:
            part._post_step_transform_(param, optim_group=_seen_by(keys, optim_group))

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        for part, keys in self._chain:
            part._check_group(_seen_by(keys, group))

    def __repr__(self) -> str:
        """Show the composed optimizers, last one first, as functions compose."""
        names = " ○ ".join(type(part).__name__ for part, _ in reversed(self._chain))
        return super().__repr__().replace(type(self).__name__, names or type(self).__name__, 1)


def _build(build: Transforming, params: Any, inner: Optimizer) -> ParamTransformingOptimizer:
    cls = build.func if isinstance(build, partial) else build
    if not (isinstance(cls, type) and issubclass(cls, ParamTransformingOptimizer)):
        raise TypeError(
            "`transforming_optimizers` must be classes or partials of "
            f"ParamTransformingOptimizer, got {build!r}"
        )
    part = build(params, InnerOpt=inner)
    if part.transforms:
        raise TypeError(
            f"links of {cls.__name__} would run out of order; give `transforms=` to "
            "ChainedParamTransformingOptimizer itself"
        )
    return part


class _Renamed(MutableMapping[str, Any]):
    """A group under the names that a composed optimizer knows its settings by."""

    def __init__(self, group: Group, keys: dict[str, str]) -> None:
        self.group, self.keys_of = group, keys

    def __getitem__(self, key: str) -> Any:
        return self.group[self.keys_of.get(key, key)]

    def __setitem__(self, key: str, value: Any) -> None:
        self.group[self.keys_of.get(key, key)] = value

    def __delitem__(self, key: str) -> None:
        del self.group[self.keys_of.get(key, key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.group)

    def __len__(self) -> int:
        return len(self.group)


def _seen_by(keys: dict[str, str], group: Group) -> Any:
    return _Renamed(group, keys) if any(k != v for k, v in keys.items()) else group
