"""What another optimizer's config left when only its `_target_` was changed."""

import functools
import inspect
from collections.abc import Callable

from torch.optim import Optimizer

from xformopt.optim.catalogue import inner_optimizers
from xformopt.optim.inner import default_of, is_same


def without_leftovers(build: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """Drop from a partial what another optimizer's config left when its `_target_` was changed.

    That is: the settings that `build` does not have, if all of them stand at the defaults of a
    torch optimizer, all of whose settings the partial holds.

    >>> import torch
    >>> left = functools.partial(torch.optim.NAdam, lr=0.1, **{
    ...     k: a.default for k, a in inspect.signature(torch.optim.SGD).parameters.items()
    ...     if k not in ("params", "lr")})
    >>> sorted(without_leftovers(left).keywords)
    ['differentiable', 'foreach', 'lr', 'maximize', 'weight_decay']
    """
    if not isinstance(build, functools.partial):
        return build
    try:
        arguments = inspect.signature(build.func).parameters
    except ValueError:
        return build
    if any(a.kind is a.VAR_KEYWORD for a in arguments.values()):
        return build
    unknown = {k: v for k, v in build.keywords.items() if k not in arguments}
    for cls in inner_optimizers().values():
        whole = set(inspect.signature(cls).parameters) - {"params"} <= set(build.keywords)
        if whole and all(is_same(v, default_of(cls, k)) for k, v in unknown.items()):
            kept = {k: v for k, v in build.keywords.items() if k not in unknown}
            return functools.partial(build.func, *build.args, **kept)
    return build
