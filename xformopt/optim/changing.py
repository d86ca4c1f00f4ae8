"""The change that an inner step makes, for links that rewrite it before it counts."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from xformopt.optim.bound import Bound
from xformopt.optim.sharded import local

_KIND = attrgetter("shape", "dtype", "device")


class Changing:
    """Parameters around an inner step: as they were before it, and by how much it changes them.

    Between `begin` and `end` a parameter holds its change, so that all it takes is one copy, which
    stays for the next step. Where no link asks for changes, nothing is kept.
    """

    def __init__(self, bounds: Iterable[Bound]) -> None:
        """Note what the links ask for."""
        tensors = [bound.transform.tensors for bound in bounds]
        self.is_asked = any("update" in names for names in tensors)
        self._is_read_later = any("update" in names[1:] for names in tensors)
        self._before: dict[Tensor, Tensor] = {}
        self._updates: dict[Tensor, Tensor] = {}
        self._in_place = False

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle no tensors: they are of one step."""
        return {**vars(self), "_before": {}, "_updates": {}, "_in_place": False}

    def remember(self, groups: list[Any], *, without_gradient: bool) -> None:
        """Keep the parameters as they are before a step: those that have a gradient, or all.

        Args:
            groups: the parameter groups.
            without_gradient: whether the step makes the gradients itself, by its closure.
        """
        held = [p for group in groups for p in group["params"]] if self.is_asked else []
        params = [p for p in held if without_gradient or p.grad is not None]
        self._before = {p: self._copy_for(p) for p in params}
        _foreach("copy", self._before.values(), params)

    def _copy_for(self, p: Tensor) -> Tensor:
        kept = None if torch.compiler.is_compiling() else self._before.get(p)
        if kept is not None and _KIND(kept) == _KIND(p):
            return kept
        return torch.empty_like(p, requires_grad=False)

    def begin(self) -> None:
        """Put the change of each parameter in its place."""
        _foreach("sub", *self._moved())
        self._in_place = True

    def end(self) -> None:
        """Add what the links made of the changes to the parameters as they were."""
        params, before = self._moved()
        if self._is_read_later:
            self._updates = {
                p: p.detach().clone() if self._in_place else p.detach() - old
                for p, old in zip(params, before, strict=True)
            }
        if self._in_place:
            _foreach("add", params, before)
        self._in_place = False

    def undo(self) -> None:
        """Put the parameters back to what they were before the step."""
        _foreach("copy", *self._moved())
        self._in_place = False

    def params(self, params: list[Tensor]) -> list[Tensor]:
        """Return the parameters as links may read them: before the step while it is rewritten."""
        return [self._before[p] for p in params] if self._in_place else params

    def updates(self, params: list[Tensor]) -> list[Tensor]:
        """Return the changes of parameters."""
        return params if self._in_place else [self._updates[p] for p in params]

    def forget(self) -> None:
        """Keep no changes beyond the step; in a program, which cannot hold them, no copies."""
        self._updates = {}
        if torch.compiler.is_compiling():
            self._before = {}

    def _moved(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the parameters that have a gradient, and what they were before the step."""
        params = [p for p in self._before if p.grad is not None]
        return params, [self._before[p] for p in params]


def _foreach(what: str, written: Iterable[Tensor], others: Iterable[Tensor]) -> None:
    """Copy, add or subtract tensors, of sharded ones what is here, by one call for all."""
    first, second = [*map(local, written)], [*map(local, others)]
    if first:
        getattr(torch, f"_foreach_{what}_")(first, second)
