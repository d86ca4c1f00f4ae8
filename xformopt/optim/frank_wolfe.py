"""The Frank–Wolfe inner optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xformopt.refused import Refused, RefusedType
from xformopt.transforms.items import TINY


class FrankWolfe(Optimizer):
    """Moves each parameter towards a vertex of a convex set; the gradient must name the vertex.

    x ← (1 - γ) x - γ s g, with γ = lr / (lr + k) at step k = 0, 1, …, or γ = lr

    where g is the gradient after a steepest-direction transform, such as `sign` or `l2_norm`, and
    s is `lmo_scaling_factor`, the radius of the set. Each iterate is a convex combination of
    vertices and the start, so that a feasible start stays feasible.

    Args:
        params: parameters or parameter groups.
        lr: the learning rate; in [0, 1] without the default schedule.
        lmo_scaling_factor: the radius of the constraint set. Per group.
        use_default_lr_schedule: whether γ falls as lr / (lr + k).
        div_by_zero_eps: the least divisor in that schedule.
        maximize: whether it moves away from what the gradient names, to the opposite vertex.

    >>> x = torch.tensor([0.5, 0.5], requires_grad=True)
    >>> optim = FrankWolfe([x], lr=1.0, use_default_lr_schedule=False)
    >>> x.backward(torch.tensor([1.0, -1.0]))
    >>> optim.step()
    >>> x
    tensor([-1.,  1.], requires_grad=True)

    Source: Frank & Wolfe 1956; the schedule is that of Jaggi 2013, Revisiting Frank-Wolfe, ICML.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 2.0,
        lmo_scaling_factor: float = 1.0,
        use_default_lr_schedule: bool = True,
        div_by_zero_eps: float = TINY,
        maximize: bool = False,
    ) -> None:
        """Check the settings of every group."""
        if not isinstance(maximize, bool):
            raise RefusedType("maximize", "a bool", maximize)
        if not isinstance(use_default_lr_schedule, bool):
            raise RefusedType("use_default_lr_schedule", "a bool", use_default_lr_schedule)
        defaults = {
            "lr": lr,
            "lmo_scaling_factor": lmo_scaling_factor,
            "use_default_lr_schedule": use_default_lr_schedule,
            "div_by_zero_eps": div_by_zero_eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked."""
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Make one step; return what `closure` returned, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    rate = _rate(group, self.state[p])
                    reach = rate * group["lmo_scaling_factor"]
                    p.mul_(1 - rate).add_(p.grad * (reach if group["maximize"] else -reach))
        return loss


@torch.no_grad()
def duality_gap(optimizer: Any) -> Tensor:
    """Return the Frank–Wolfe gap of the parameters as they are, from the gradients that they hold.

    Σ ⟨g, x - s⟩, where s minimises ⟨g, s⟩ over the set

    For a convex loss it bounds from above what can still be gained, if the chain is the oracle of
    the set, as in the recipes `fw_…`. Call it between `backward` and `step` of a
    `ParamTransformingOptimizer` around `FrankWolfe`; it changes nothing.

    >>> from xformopt import ParamTransformingOptimizer, transforms as T
    >>> x = torch.tensor([0.5, 0.5])
    >>> x.grad = torch.tensor([1.0, -1.0])
    >>> optim = ParamTransformingOptimizer([x], FrankWolfe, transforms=[T.sign()])
    >>> duality_gap(optim)
    tensor(2.)

    Source: Jaggi 2013, Revisiting Frank-Wolfe, ICML, equation 2.
    """
    inner = getattr(optimizer, "inner_opt", optimizer)
    if not isinstance(inner, FrankWolfe):
        raise RefusedType(f"the duality gap is that of FrankWolfe, got {type(inner).__name__}")
    stateful = [name for name, link in optimizer.transforms.items() if link.transform.state]
    if stateful:
        raise Refused(f"links with state, {stateful}, make no oracle of the gradient: no gap")
    held = [(g, p, p.grad) for g in inner.param_groups for p in g["params"] if p.grad is not None]
    generators = [torch.default_generator, *optimizer.generators()]
    drawn = [generator.get_state() for generator in generators]
    try:
        for _, p, grad in held:
            p.grad = grad.clone()
        optimizer._apply_pre_step_transform_()
        gaps = [_gap(group, p, grad) for group, p, grad in held]
    finally:
        for _, p, grad in held:
            p.grad = grad
        for generator, before in zip(generators, drawn, strict=True):
            generator.set_state(before)
    return torch.stack(gaps).sum() if gaps else torch.zeros(())


def _gap(group: dict[str, Any], p: Tensor, grad: Tensor) -> Tensor:
    sign = -1 if group["maximize"] else 1
    assert p.grad is not None
    return (sign * grad * (p + sign * group["lmo_scaling_factor"] * p.grad)).sum()


def _rate(group: dict[str, Any], state: dict[str, Any]) -> float:
    step = state.setdefault("step", 0)
    state["step"] += 1
    lr = group["lr"]
    if not group["use_default_lr_schedule"]:
        return lr
    return lr / max(group["div_by_zero_eps"], lr + step)


def _check(group: dict[str, Any]) -> None:
    lr, scheduled = group["lr"], group["use_default_lr_schedule"]
    if not isinstance(lr, (int, float)):
        raise RefusedType("lr", "a number", lr)
    if not 0 <= lr <= (float("inf") if scheduled else 1):
        rule = ">= 0" if scheduled else "in [0, 1] where `use_default_lr_schedule=False`"
        raise Refused("lr", rule, lr)
    if not group["div_by_zero_eps"] >= 0 or (lr == 0 and group["div_by_zero_eps"] == 0):
        eps = group["div_by_zero_eps"]
        raise Refused("div_by_zero_eps", ">= 0, and > 0 where lr is 0", eps)
    scale = group["lmo_scaling_factor"]
    if not isinstance(scale, (int, float)):
        raise RefusedType("lmo_scaling_factor", "a number", scale)
    if not 0 <= scale < float("inf"):
        raise Refused("lmo_scaling_factor", "a finite number >= 0", scale)
