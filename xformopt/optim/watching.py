"""Links watched while an optimizer steps: what each writes, before and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from xformopt.optim.chain import Chain, Probe
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.routing import RoutedOptimizer, parts_of
from xformopt.refused import Refused


@contextmanager
def watched(optimizer: Optimizer, probe: Probe) -> Iterator[None]:
    """Call `probe(name, before, after)` for each link of each step that is made within.

    `name` is the link's, behind routes `route.name`; for a transform that stands for the hook of a
    class, that of the class. `before` are copies of the gradients or parameters that it writes,
    `after` these themselves, not to be written to; of sharded ones, what is on this rank. Where the
    optimizer maximizes, gradients are as links see them, their negatives. A closure that is called
    several times in a step, as by LBFGS, has its links called as often.

    Raises:
        Refused: for `compile=True`, whose steps are one program; others would differ from it in the
            last bits.

    >>> import torch
    >>> from xformopt import transforms as T
    >>> x = torch.tensor([1.0, 1.0])
    >>> x.grad = torch.tensor([3.0, -4.0])
    >>> links = [T.l2_norm(param_ndim=None), T.sign()]
    >>> optim = ParamTransformingOptimizer([x], transforms=links, lr=1.0)
    >>> with watched(optim, print):
    ...     optim.step()
    l2_norm [tensor([ 3., -4.])] [tensor([ 0.6000, -0.8000])]
    sign [tensor([ 0.6000, -0.8000])] [tensor([ 1., -1.])]
    """
    if any(getattr(part, "compile", False) for part in parts_of(optimizer).values()):
        says = "`compile=True`: links of a compiled step cannot be watched; build it without"
        raise Refused("compile", value=True, way_out="build it without", says=says)
    entries = [(c, partial(_named, probe, prefix)) for prefix, c in _chains(optimizer)]
    for chain, entry in entries:
        chain.probes.append(entry)
    try:
        yield
    finally:
        for chain, entry in entries:
            chain.probes.remove(entry)


@contextmanager
def changed(optimizer: Optimizer) -> Iterator[dict[str, bool]]:
    """Give a live dict that tells of each link whether it changed any entry in the steps within.

    A link stands there from the first time that it ran; links that keep an average of the parameter
    are left out, since that is their work, and the parameter may stay for many steps. Numbers that
    are equal, or NaN both times, are not changed.

    >>> import torch
    >>> from xformopt import transforms as T
    >>> x = torch.tensor([1.0, 1.0])
    >>> x.grad = torch.tensor([3.0, -4.0])
    >>> links = [T.clip_norm(max_norm=10.0), T.sign()]
    >>> optim = ParamTransformingOptimizer([x], transforms=links, lr=1.0)
    >>> with changed(optim) as seen:
    ...     optim.step()
    >>> seen
    {'clip_norm': False, 'sign': True}
    """
    links = getattr(optimizer, "transforms", {})
    averaging = {name for name, link in links.items() if link.transform.averages}
    seen: dict[str, bool] = {}

    def note(name: str, before: list[Tensor], after: list[Tensor]) -> None:
        if name not in averaging:
            seen[name] = seen.get(name, False) or any(map(_differ, before, after))

    with watched(optimizer, note):
        yield seen


def _chains(optimizer: Any) -> list[tuple[str, Chain]]:
    """Return the chains that an optimizer runs, each with what stands before the names of links."""
    common = [("", optimizer._common)] if isinstance(optimizer, RoutedOptimizer) else []
    return common + [
        (f"{route}." if route else "", part._chain)
        for route, part in parts_of(optimizer).items()
        if isinstance(part, ParamTransformingOptimizer)
    ]


def _named(probe: Probe, prefix: str, name: str, before: list[Tensor], after: list[Tensor]) -> None:
    probe(prefix + name, before, after)


def _differ(before: Tensor, after: Tensor) -> bool:
    return bool(((before != after) & ~(before.isnan() & after.isnan())).any())
