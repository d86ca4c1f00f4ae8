"""A chain as an optimizer runs it: its links bound to group keys, with buckets and buffers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from xformopt.optim.batching import dense_or_values
from xformopt.optim.bound import Bound, bind
from xformopt.optim.buckets import Buckets, Given
from xformopt.optim.changing import Changing
from xformopt.optim.hooks import Hook
from xformopt.optim.inner import as_number
from xformopt.optim.linkstate import LinkState, buffers_of
from xformopt.optim.sharded import local
from xformopt.transforms.items import rounds_scalars
from xformopt.transforms.link import Link

Group = dict[str, Any]
Probe = Callable[[str, list[Tensor], list[Tensor]], None]
"""What is called with a link's name and what it writes, before and after it ran."""


class Chain:
    """Runs links, and what stands for the hooks, around an inner step."""

    def __init__(self, links: Mapping[str, Link], renamed: Mapping[str, str]) -> None:
        """Bind the links; settings have other group keys where these are `renamed`."""
        self.links = links
        self.bounds = {name: bind(name, link, renamed) for name, link in links.items()}
        self.state = LinkState(self.bounds)
        self.buckets = Buckets()
        self.raw: dict[Tensor, Tensor] = {}
        self.changing = Changing(self.bounds.values())
        self.probes: list[Probe] = []
        self._stateful = [bound for bound in self.bounds.values() if bound.transform.state]
        self._keeps_raw = any("raw_grad" in b.transform.tensors for b in self.bounds.values())

    def defaults(self) -> Group:
        """Return the settings of the links under their group keys."""
        return {
            key: {**self.links[name].settings, **self.links[name].resources}[setting]
            for name, bound in self.bounds.items()
            for setting, key in bound.keys.items()
        }

    def begin(self, groups: list[Group], state: Any, strict: bool) -> None:
        """Make the links' buffers, and keep the gradients that are read as `raw_grad`."""
        self.raw.clear()
        for group in groups if self._stateful or self._keeps_raw else ():
            stateful = [(bound, bound.param_ndim(group)) for bound in self._stateful]
            for p in group["params"]:
                if p.grad is None:
                    continue
                for bound, param_ndim in stateful:
                    buffers_of(bound, p, state, param_ndim, strict)
                if self._keeps_raw:
                    self.raw[p] = p.grad.clone()

    def run(self, when: str, own: list[Hook | Bound], optimizer: Any) -> None:
        """Run what stands for a hook, then the links of that time."""
        self._run(own, self._links_of(when), optimizer, self.probes)

    def update(self, optimizer: Any) -> None:
        """Run the links that rewrite what the inner step has changed.

        Where one fails, the parameters are as they were before the step, those of this chain alone;
        buffers have moved.
        """
        links = self._links_of("update")
        if links:
            self.changing.begin()
            try:
                self._run([], links, optimizer, self.probes)
            except BaseException:
                self.changing.undo()
                raise
        self.changing.end()

    def finish(self) -> None:
        """Let go of what was kept for one step."""
        self.raw.clear()
        self.changing.forget()

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle no probes: they watch this one."""
        return {**vars(self), "probes": []}

    def project(self, own: list[Hook | Bound], optimizer: Any) -> None:
        """Run what projects: post-step links that need no step, and count none."""
        links = [b for b in self._links_of("post") if not b.transform.state]
        self._run(own, [b for b in links if not b.transform.is_of_steps], optimizer)

    def _links_of(self, when: str) -> list[Bound]:
        return [b for name, b in self.bounds.items() if self.links[name].when == when]

    def _run(
        self,
        own: list[Hook | Bound],
        links: list[Bound],
        optimizer: Any,
        probes: Sequence[Probe] = (),
    ) -> None:
        groups, strict = optimizer.param_groups, optimizer.strict_ndim
        given = Given(optimizer.state, self.raw, self.changing, strict)
        for act in own:
            if isinstance(act, Hook):
                act.run(groups, strict)
            else:
                self._run_link(act, groups, given, probes)
        turned = self._maximized(groups) if any(map(_tells_signs, links)) else []
        if turned:
            torch.ops.aten._foreach_neg_(turned)
        try:
            for bound in links:
                self._run_link(bound, groups, given, probes)
        finally:
            if turned:
                torch.ops.aten._foreach_neg_(turned)

    def _run_link(
        self, bound: Bound, groups: list[Group], given: Given, probes: Sequence[Probe]
    ) -> None:
        """Run a link, with a copy of what it writes where that is watched."""
        if torch.compiler.is_compiling() or not probes:
            self.buckets.run(bound, groups, given)
            return
        before = [x.clone() for x in _written_by(bound, groups)]
        self.buckets.run(bound, groups, given)
        for probe in probes:
            probe(bound.name, before, _written_by(bound, groups))

    def _maximized(self, groups: list[Group]) -> list[Tensor]:
        """Return the gradients of groups that maximize: links see what is minimized."""
        params = [p for group in groups if group.get("maximize") for p in group["params"]]
        grads = [dense_or_values(p) for p in params if p.grad is not None]
        return [*grads, *(self.raw[p] for p in params if p in self.raw)]


def _written_by(bound: Bound, groups: list[Group]) -> list[Tensor]:
    """Return the gradients, changes or parameters that a link writes; of shards, those here."""
    params = [p for group in groups for p in group["params"] if p.numel()]
    if bound.transform.target == "param":
        return [*map(local, params)]
    params = [p for p in params if p.grad is not None]
    written = params if bound.transform.target == "update" else map(dense_or_values, params)
    return [*map(local, written)]


def _tells_signs(bound: Bound) -> bool:
    """Return whether a link may tell a gradient from its negative."""
    is_odd = bound.transform.target == "grad" and "odd" in bound.transform.laws
    return bound.transform.reads_grad and not is_odd


def scale_and_shift(group: Group) -> None:
    """Multiply the gradients of a group by `grad_scale`, and add `grad_bias`."""
    scale, bias = group["grad_scale"], group["grad_bias"]
    if scale == 1.0 and bias == 0.0:
        return
    if not torch.compiler.is_compiling():
        scale, bias = as_number("grad_scale", scale), as_number("grad_bias", bias)
    grads = [dense_or_values(p) for p in group["params"] if p.grad is not None]
    if scale != 1.0 and any(map(rounds_scalars, grads)):
        for grad in grads:
            grad.mul_(scale)
    elif scale != 1.0 and grads:
        torch.ops.aten._foreach_mul_(grads, scale)
    if bias != 0.0 and grads:
        torch.ops.aten._foreach_add_(grads, bias)
