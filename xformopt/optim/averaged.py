"""The averages of parameters that links keep."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from xformopt.optim.routing import parts_of
from xformopt.transforms.link import Link


def averages(optimizer: Optimizer) -> dict[str, dict[Tensor, Tensor]]:
    """Return the averages of parameters, by the name of the link and by parameter.

    They are those of the state, not copies, in the dtype and on the shards of the state. Routes
    are merged, by the names that links have in their chains. A parameter of which a link has seen
    nothing yet is left out.

    >>> import torch
    >>> from xformopt import ParamTransformingOptimizer, transforms as T
    >>> x = torch.tensor([4.0], requires_grad=True)
    >>> optim = ParamTransformingOptimizer([x], transforms=[T.param_ema(decay=0.5)], lr=1.0)
    >>> for _ in range(2):
    ...     x.grad = torch.tensor([3.0])
    ...     optim.step()
    >>> averages(optim)["param_ema"][x]
    tensor([-1.])
    """
    found: dict[str, dict[Tensor, Tensor]] = {}
    for part in parts_of(optimizer).values():
        for name, link in getattr(part, "transforms", {}).items():
            if link.transform.averages:
                found.setdefault(name, {}).update(_of(part, name, link))
    return found


def _of(optimizer: Any, name: str, link: Link) -> dict[Tensor, Tensor]:
    """Return the averages of one link; buffers without a step were made to be loaded into."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    held = {p: optimizer.state[p][name] for p in params if name in optimizer.state.get(p, {})}
    key = link.transform.averages
    return {p: own[key] for p, own in held.items() if float(own.get("step", 1)) > 0}
