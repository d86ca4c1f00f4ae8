"""Steps of optimizers, timed in turn on parameters of the same shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from experiments.bench.case import Case, Figure, Measured
from experiments.bench.clock import interleave
from experiments.bench.memory import peak_memory
from experiments.bench.sets import Shapes

MIB = 2**20


@torch.no_grad()
def restore(params: list[Tensor], grads: list[Tensor]) -> None:
    """Put parameters, outside any ball, and gradients where they were before the step."""
    torch.ops.aten._foreach_copy_(params, grads)
    for param, grad in zip(params, grads, strict=True):
        if param.grad is None:
            param.grad = grad.clone()
    torch.ops.aten._foreach_copy_([param.grad for param in params], grads)


class Variant(NamedTuple):
    """An optimizer whose step is timed."""

    entry: str
    """The public name that makes it."""
    build: Callable[[list[Tensor]], Optimizer]
    ready: Callable[[list[Tensor], list[Tensor]], None] = restore
    """Called before each step, with the parameters, and the gradients that are theirs."""


def step_case(
    name: tuple[str, str, str, str],
    shapes: Shapes,
    variants: dict[str, Variant],
    figures: list[Figure],
    *,
    memory: bool = False,
) -> Case:
    """Return a case of steps; its name is kind, set, inner and what, the entries the variants'."""
    entries = {who: variant.entry for who, variant in variants.items()}
    return Case(*name, entries, figures, partial(time_steps, shapes, variants, memory))


def time_steps(
    shapes: Shapes,
    variants: dict[str, Variant],
    memory: bool,
    rounds: int,
    device: torch.device,
) -> Measured:
    """Time a step of each variant, and as `copy` a copy of the gradient's bytes.

    With `memory`, measure too what a step of each holds beyond that of the variant `bare`.
    """
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
    flat = torch.cat([grad.flatten() for grad in grads])
    runs: dict[str, Callable[[], Any]] = {"copy": partial(torch.empty_like(flat).copy_, flat)}
    prepare: dict[str, Callable[[], None]] = {}
    for who, variant in variants.items():
        params = [torch.empty_like(grad).requires_grad_() for grad in grads]
        runs[who] = variant.build(params).step
        prepare[who] = partial(variant.ready, params, grads)
    times = interleave(runs, rounds=rounds, device=device, prepare=prepare)
    if not memory:
        return Measured(times, {})
    held = {who: peak_memory(run, device) / MIB for who, run in runs.items()}
    return Measured(times, {who: most - held["bare"] for who, most in held.items()})
