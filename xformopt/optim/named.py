"""The names of `rai_toolbox.optim`: each a thin class whose hooks are registered transforms.

All take `params`, `InnerOpt`, `param_ndim`, `grad_scale`, `grad_bias` and `defaults` as
`ParamTransformingOptimizer` does; their own settings are keys of the parameter groups.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from torch import Generator, Tensor, default_generator
from torch.optim import SGD, Optimizer
from torch.optim.optimizer import required

from xformopt.optim.bound import Bound
from xformopt.optim.chained import ChainedParamTransformingOptimizer
from xformopt.optim.core import Group, ParamTransformingOptimizer
from xformopt.optim.hooks import LinkHook
from xformopt.optim.inner import ParamGroups
from xformopt.refused import Refused, RefusedType
from xformopt.transforms import (
    Transform,
    box,
    clamp,
    l1_norm,
    l2_ball,
    l2_norm,
    linf_ball,
    linf_norm,
    sign,
    top_q,
)
from xformopt.transforms.clip import bounds_are_ordered
from xformopt.transforms.items import TINY, item_norm

Inner = Callable[..., Optimizer] | Optimizer
REQUIRED: Any = required


class _Named(ParamTransformingOptimizer):
    """Checks the group keys that a class adds by the rules of the transform that reads them."""

    _rules: ClassVar[dict[str, tuple[Transform, str]]] = {}

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        for key, (rule, name) in self._rules.items():
            replace(rule.settings[name], name=key).check(type(self).__name__, group[key])


class SignedGradientOptim(_Named):
    """Replaces each gradient by its elementwise sign.

    >>> import torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optim = SignedGradientOptim([x], lr=0.5)
    >>> x.backward(torch.tensor([30.0, -0.1]))
    >>> optim.step()
    >>> x
    tensor([0.5000, 2.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        param_ndim: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the shared arguments."""
        super().__init__(params, InnerOpt, param_ndim=param_ndim, **kwargs)

    _pre_step_transform_: Any = LinkHook(sign)


class _NormHook(LinkHook):
    """Divides by a norm; a subclass may have a `per_datum_norm` of its own."""

    def method(self, optimizer: Any) -> Callable[..., None] | None:
        """Return the method that divides by an overridden norm."""
        cls = type(optimizer)
        is_ours = cls.per_datum_norm is _Normed.per_datum_norm and cls.p is _Normed.p
        is_ours = is_ours and "per_datum_norm" not in vars(optimizer)
        return None if is_ours and cls._p in NORMS else optimizer.divide_by_norm

    def bound(self, optimizer: Any) -> Bound:
        """Return the normalisation of the class's order."""
        cls, eps = type(optimizer), max(optimizer.div_by_zero_eps, TINY)
        return Bound(cls.__name__, NORMS[cls._p], {}, {"eps": eps})


NORMS = {1: l1_norm, 2: l2_norm, float("inf"): linf_norm}


class _Normed(_Named):
    """Divides each gradient item by `per_datum_norm`: the `_p`-norm, unless overridden."""

    _p: ClassVar[float]
    _pre_step_transform_: Any = _NormHook(l2_norm)

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        div_by_zero_eps: float = TINY,
        **kwargs: Any,
    ) -> None:
        """Take the least divisor, and the shared arguments."""
        rule = replace(l2_norm.settings["eps"], name="div_by_zero_eps")
        rule.check(type(self).__name__, div_by_zero_eps)
        self.div_by_zero_eps = div_by_zero_eps
        super().__init__(params, InnerOpt, **kwargs)

    @property
    def p(self) -> float:
        """The order of the norm."""
        return self._p

    def per_datum_norm(self, x: Tensor) -> Tensor:
        """Return the norm of each row of `x`, shape `(N, D)`, as shape `(N,)`."""
        return item_norm(x, self.p).flatten()

    def divide_by_norm(self, param: Tensor, optim_group: Group | None = None) -> None:
        """Divide each item of the gradient by `per_datum_norm`."""
        if param.grad is not None:
            norms = self.per_datum_norm(param.grad.flatten(1)).view(-1, *[1] * (param.ndim - 1))
            param.grad.div_(norms.clamp_min(max(self.div_by_zero_eps, TINY)))


class L1NormedGradientOptim(_Normed):
    """Divides each gradient item by its l1 norm."""

    _p = 1


class L2NormedGradientOptim(_Normed):
    """Divides each gradient item by its l2 norm."""

    _p = 2


class _WithEpsilon(_Named):
    """Has a radius `epsilon` in each group."""

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        epsilon: float = REQUIRED,
        defaults: Group | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the radius, and the shared arguments."""
        defaults = {"epsilon": epsilon, **(defaults or {})}
        super().__init__(params, InnerOpt, defaults=defaults, **kwargs)


class L2ProjectedOptim(_WithEpsilon, L2NormedGradientOptim):
    """Divides each gradient item by its l2 norm; projects onto the l2 ball of radius `epsilon`.

    >>> import torch
    >>> x = torch.tensor([[6.0, 8.0]], requires_grad=True)
    >>> optim = L2ProjectedOptim([x], epsilon=5.0, lr=0.0)
    >>> optim.project()
    >>> x
    tensor([[3., 4.]], requires_grad=True)
    """

    _rules: ClassVar = {"epsilon": (l2_ball, "radius")}

    _post_step_transform_: Any = LinkHook(l2_ball, radius="epsilon")


class LinfProjectedOptim(_WithEpsilon, SignedGradientOptim):
    """Takes the sign of each gradient; projects onto the l∞ ball of radius `epsilon`."""

    _rules: ClassVar = {"epsilon": (linf_ball, "radius")}

    _post_step_transform_: Any = LinkHook(linf_ball, radius="epsilon")


class _Clamped(_Named):
    _rules: ClassVar = {"clamp_min": (clamp, "min"), "clamp_max": (clamp, "max")}

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        clamp_min: float | None = None,
        clamp_max: float | None = None,
        defaults: Group | None = None,
        param_ndim: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the bounds, and the shared arguments."""
        defaults = {"clamp_min": clamp_min, "clamp_max": clamp_max, **(defaults or {})}
        super().__init__(params, InnerOpt, defaults=defaults, param_ndim=param_ndim, **kwargs)

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        wrong = bounds_are_ordered(group["clamp_min"], group["clamp_max"])
        if wrong:
            raise Refused(re.sub("`(min|max)`", r"`clamp_\1`", wrong))


class ClampedGradientOptimizer(_Clamped):
    """Clamps each gradient entry to [clamp_min, clamp_max]."""

    _pre_step_transform_: Any = LinkHook(clamp, min="clamp_min", max="clamp_max")


class ClampedParameterOptimizer(_Clamped):
    """Clamps each parameter entry to [clamp_min, clamp_max] after the step."""

    _post_step_transform_: Any = LinkHook(box, min="clamp_min", max="clamp_max")


class TopQGradientOptimizer(_Named):
    """Zeros the fraction `q` ± `dq` of each gradient item that is smallest in absolute value.

    >>> import torch
    >>> x = torch.zeros(1, 4, requires_grad=True)
    >>> optim = TopQGradientOptimizer([x], q=0.5, lr=1.0)
    >>> x.backward(torch.tensor([[1.0, -4.0, 2.0, 0.5]]))
    >>> optim.step()
    >>> x.grad
    tensor([[ 0., -4.,  2.,  0.]])
    """

    _rules: ClassVar = {"q": (top_q, "q"), "dq": (top_q, "dq")}
    _pre_step_transform_: Any = LinkHook(top_q, q="q", dq="dq", generator="generator")

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        q: float = REQUIRED,
        dq: float = 0.0,
        defaults: Group | None = None,
        generator: Generator = default_generator,
        **kwargs: Any,
    ) -> None:
        """Take the fraction and its spread, and the shared arguments."""
        _check_generator(generator)
        own = None if generator is default_generator else generator
        defaults = {"q": q, "dq": dq, "generator": own, **(defaults or {})}
        super().__init__(params, InnerOpt, defaults=defaults, **kwargs)


class L1qNormedGradientOptim(ChainedParamTransformingOptimizer):
    """Keeps the signs of each item's top-q entries, divided by their number."""

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Inner = SGD,
        *,
        q: float = REQUIRED,
        dq: float = 0.0,
        div_by_zero_eps: float = TINY,
        generator: Generator = default_generator,
        **kwargs: Any,
    ) -> None:
        """Take the fraction and its spread, and the shared arguments."""
        _check_generator(generator)
        super().__init__(
            partial(TopQGradientOptimizer, q=q, dq=dq, generator=generator),
            SignedGradientOptim,
            partial(L1NormedGradientOptim, div_by_zero_eps=div_by_zero_eps),
            params=params,
            InnerOpt=InnerOpt,
            **kwargs,
        )


def _check_generator(generator: Any) -> None:
    if not isinstance(generator, Generator):
        raise RefusedType("generator", "a torch.Generator", generator)
