"""Whether a step treats the rows of a parameter as problems of their own."""

from typing import Any

import torch
from torch import optim
from torch.optim import Optimizer

from xformopt.optim.batching import batch_shape
from xformopt.optim.bound import Bound
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.frank_wolfe import FrankWolfe
from xformopt.optim.hooks import HOOKS, Hook
from xformopt.optim.routing import RoutedOptimizer, parts_of

ENTRY_BY_ENTRY = frozenset({
    optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.Adagrad,
    optim.Adadelta, optim.RMSprop, optim.Rprop, optim.ASGD, FrankWolfe,
})  # fmt: skip
"""Inner optimizers that treat each entry on its own; any other, a subclass too, is not known to."""

SHAPE = torch.Size((5, 3))


def acts_by_row(optimizer: Optimizer) -> bool:
    """Return whether each row of a parameter of shape (N, d) moves as it would alone, as (1, d).

    So it is where every link takes entries, or items that lie within a row, no subclass has hooks
    of its own, and the inner optimizer treats each entry on its own. Links that draw random numbers
    draw others for a row alone. An optimizer that is not known is taken not to.

    >>> from xformopt import transforms as T
    >>> x = [torch.zeros(4, 3)]
    >>> acts_by_row(ParamTransformingOptimizer(x, transforms=[T.l2_norm()], param_ndim=1))
    True
    >>> acts_by_row(ParamTransformingOptimizer(x, transforms=[T.l2_norm()], param_ndim=2))
    False
    """
    if isinstance(optimizer, RoutedOptimizer):
        return not optimizer.common and all(map(acts_by_row, parts_of(optimizer).values()))
    if not isinstance(optimizer, ParamTransformingOptimizer):
        return type(optimizer) in ENTRY_BY_ENTRY
    acts = [act for when in HOOKS for act in optimizer._acts(when)]
    acts += optimizer._chain.bounds.values()
    groups = optimizer.param_groups
    return acts_by_row(optimizer.inner_opt) and all(_is_by_row(a, g) for a in acts for g in groups)


def _is_by_row(act: Hook | Bound, group: dict[str, Any]) -> bool:
    if isinstance(act, Hook) or act.transform.scope != "item":
        return False
    _, param_ndim = act.settings(group)
    rows, *_ = batch_shape(SHAPE, param_ndim, strict_ndim=False)
    return act.transform.items == "entry" or rows >= SHAPE[0]
