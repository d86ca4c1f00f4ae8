"""What each link and each step do to gradients and weights, written down while a run goes on."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from experiments.observers.contract import Evaluated, Event, Observer, Run
from experiments.results.folder import aside
from experiments.results.telemetry import NAME, UPDATE, read
from xformopt.optim import parts_of, watched

OF_LINK = ("before", "after", "cosine", "zeros", "changed", "distance")
OF_UPDATE = ("ratio", "angle")


class Telemetry(Observer):
    """Appends to `telemetry.jsonl`, every so many steps: a line a link and group, and one a group.

    Of a link, with what it writes before and after, b and a, all tensors of a group as one vector:
    the norms ‖b‖ and ‖a‖, their cosine, the share of entries of a that are zero, the share that it
    changed (of a link that clips, what was clipped), and ‖a - b‖ (of one that projects, how far).
    Of a whole step, of weights w to w': ‖w' - w‖ / ‖w‖, and the angle between w and w' in degrees.
    All is computed where the weights are, and read at evaluations.
    """

    draws = False

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        """Watch an optimizer at the steps 1, 1 + every, 1 + 2 every, …"""
        self.optimizer, self.every = optimizer, every
        self.found: list[tuple[dict[str, Any], Sequence[str], Tensor]] = []
        self.watch = ExitStack()

    def start(self, run: Run) -> None:
        """Begin behind the lines of the steps that a run goes on from."""
        self.step, self.path = run.begin, run.folder / NAME
        if self.path.exists():
            kept = [json.dumps(one) for one in read(run.folder) if one["step"] <= run.begin]
            with aside(self.path) as unfinished:
                unfinished.write_text("".join(f"{line}\n" for line in kept))
        self.handles = [
            self.optimizer.register_step_pre_hook(self._before),
            self.optimizer.register_step_post_hook(self._after),
        ]

    def on(self, event: Event) -> None:
        """Count the steps; write down what was found where all is read anyway."""
        self.step = event.step
        if isinstance(event, Evaluated):
            self._write()

    def end(self, summary: Any) -> None:
        """Write what is left, and let the optimizer go."""
        self.watch.close()
        for handle in self.handles:
            handle.remove()
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Write what was found so far, so that a run that goes on finds it."""
        self._write()
        return {}

    def _before(self, *_: Any) -> None:
        if self.step % self.every:
            return
        self.held, self.seen = [_flat(params) for _, params in self._groups()], set[str]()
        self.watch.enter_context(watched(self.optimizer, self._probe))

    def _after(self, *_: Any) -> None:
        if self.step % self.every:
            return
        self.watch.close()
        for (about, params), before in zip(self._groups(), self.held, strict=True):
            self._note(UPDATE, about, OF_UPDATE, _moved(before, _flat(params)))
        self.held = []

    def _groups(self) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        """Give the parameters of each group, and whose they are."""
        for route, part in parts_of(self.optimizer).items():
            for number, group in enumerate(part.param_groups):
                params = [p.detach() for p in group["params"] if p.numel()]
                if params:
                    yield {"route": route, "group": number}, params

    def _probe(self, name: str, before: list[Tensor], after: list[Tensor]) -> None:
        """Note what a link did to each group, the first time in a step that asks several times."""
        if name in self.seen:
            return
        self.seen.add(name)
        route = name.rpartition(".")[0]
        part = parts_of(self.optimizer).get(route)
        numbers = _numbers(part or self.optimizer, len(after))
        held = zip(numbers, before, after, strict=True)
        for number, own in groupby(held, key=lambda one: one[0]):
            _, b, a = zip(*own, strict=True)
            self._note(name, {"route": route, "group": number}, OF_LINK, _done(_flat(b), _flat(a)))

    def _note(self, name: str, about: dict[str, Any], names: Sequence[str], values: Tensor) -> None:
        self.found.append(({"step": self.step + 1, "link": name, **about}, names, values))

    def _write(self) -> None:
        """Read what was found from the device, at once, and append it."""
        if not self.found:
            return
        read = iter(torch.cat([values for *_, values in self.found]).tolist())
        lines = [
            about | {name: value if isfinite(value := next(read)) else None for name in names}
            for about, names, _ in self.found
        ]
        self.found = []
        with self.path.open("ab", buffering=0) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())


def _numbers(optimizer: Optimizer, count: int) -> list[int]:
    """Return the group of each tensor that a link writes: of all, or of those with gradients."""
    held = [(n, p) for n, group in enumerate(optimizer.param_groups) for p in group["params"]]
    held = [(n, p) for n, p in held if p.numel()]
    return [n for n, p in held if len(held) == count or p.grad is not None]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all entries, as float32 where they have fewer bits."""
    return torch.cat([x.flatten() for x in tensors]).to(
        torch.promote_types(tensors[0].dtype, torch.float32)
    )


def _done(before: Tensor, after: Tensor) -> Tensor:
    norms = before.norm(), after.norm()
    cosine = (before.dot(after) / (norms[0] * norms[1])).clamp(-1, 1)
    zeros, changed = (after == 0).float().mean(), (before != after).float().mean()
    return torch.stack([*norms, cosine, zeros, changed, (after - before).norm()]).float()


def _moved(before: Tensor, after: Tensor) -> Tensor:
    ratio = (after - before).norm() / before.norm()
    one, other = before / before.norm(), after / after.norm()
    angle = 2 * torch.atan2((one - other).norm(), (one + other).norm())
    return torch.stack([ratio, angle.rad2deg()]).float()
