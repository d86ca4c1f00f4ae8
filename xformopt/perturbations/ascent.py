"""Perturbations that an optimizer finds: gradient ascent on a loss, and restarts of it."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xformopt.perturbations.additive import AdditivePerturbation, PerturbationModel
from xformopt.perturbations.modes import evaluating, frozen, negate
from xformopt.refused import Refused, RefusedType, check_count

Solution = tuple[Tensor, Tensor]
"""Perturbed data, and their losses."""


def gradient_ascent(
    *,
    model: Callable[[Tensor], Tensor],
    data: Any,
    target: Any,
    optimizer: Callable[..., Optimizer] | Optimizer,
    steps: int,
    perturbation_model: Callable[..., PerturbationModel] | PerturbationModel = AdditivePerturbation,
    targeted: bool = False,
    use_best: bool = False,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    reduction_fn: Callable[[Tensor], Tensor] = torch.sum,
    **optim_kwargs: Any,
) -> Solution:
    """Return data, perturbed so that their losses are large, and the losses.

    δ ← step of the optimizer down -criterion(model(perturb(data)), target), `steps` times

    A module is put into evaluation mode and frozen meanwhile, and so are data and target.

    Args:
        model: a module or function.
        data: of shape `(N, …)`.
        target: what the data are moved away from, `(N, …)`.
        optimizer: the class or partial of one, or a built one beside a built perturbation.
        steps: the number of steps.
        perturbation_model: the class, which is called with the data, or what it builds.
        targeted: whether losses become small, so that the data move towards `target`.
        use_best: whether the best perturbation of all steps is returned, item by item, or the last.
        criterion: gives the loss of each item, `(N,)`; by default the cross-entropy.
        reduction_fn: makes one number of the losses; `torch.mean` for a universal perturbation.
        **optim_kwargs: settings of the optimizer.

    Returns:
        The perturbed data and their losses, of `criterion` as it is.

    >>> data, losses = gradient_ascent(
    ...     data=[-1.0, 2.0],
    ...     target=0.0,
    ...     model=lambda x: x,
    ...     criterion=lambda out, target: (out - target).abs(),
    ...     optimizer=torch.optim.SGD,
    ...     lr=0.1,
    ...     steps=5,
    ... )
    >>> data
    tensor([-1.5000,  2.5000])

    Source: Madry et al. 2018, Towards deep learning models resistant to adversarial attacks, ICLR;
    the behaviour is that of `rai_toolbox.perturbations`.
    """
    data, target = (torch.as_tensor(x) for x in (data, target))
    data, target = (x if x.is_leaf else x.detach() for x in (data, target))
    criterion = criterion or nn.CrossEntropyLoss(reduction="none")
    objective = criterion if targeted else negate(criterion)
    perturbed, optim = _built(perturbation_model, optimizer, data, optim_kwargs)
    modules = [model] if isinstance(model, nn.Module) else []
    best: Solution | None = None
    with frozen(data, target, *modules), evaluating(*modules), torch.enable_grad():
        for _ in range(steps):
            moved = perturbed(data)
            losses = objective(model(moved), target)
            optim.zero_grad(set_to_none=True)
            reduction_fn(losses).backward()
            optim.step()
            if use_best:
                _check_losses(losses, data)
                best = better((moved.detach(), losses.detach()), best)
        optim.zero_grad(set_to_none=True)
        with torch.no_grad():
            moved = perturbed(data)
            losses = objective(model(moved), target)
        moved, losses = better((moved, losses), best)
    return moved.detach(), (losses if targeted else -losses).detach()


def random_restart(solver: Callable[..., Solution], repeats: int) -> Callable[..., Solution]:
    """Return a solver that runs another so many times, and keeps the best item by item.

    Losses are large where they are good; small, if it is called with `targeted=True`.

    >>> tried = iter([([1.0, 5.0], [1.0, 5.0]), ([2.0, 4.0], [2.0, 4.0])])
    >>> solver = random_restart(lambda: tuple(map(torch.tensor, next(tried))), repeats=2)
    >>> solver()
    (tensor([2., 5.]), tensor([2., 5.]))
    """
    check_count("repeats", repeats)

    @wraps(solver)
    def restarted(*args: Any, **kwargs: Any) -> Solution:
        sign = 1 if kwargs.get("targeted", False) else -1
        best: Solution | None = None
        for _ in range(repeats):
            moved, losses = solver(*args, **kwargs)
            best = better((moved, sign * losses), best)
        assert best is not None
        return best[0], sign * best[1]

    return restarted


def better(new: Solution, old: Solution | None) -> Solution:
    """Return the data of the smaller loss, item by item; of equal ones, the old.

    >>> new = torch.tensor([1, 2]), torch.tensor([0.1, 0.2])
    >>> better(new, (torch.tensor([3, 4]), torch.tensor([0.2, 0.1])))
    (tensor([1, 4]), tensor([0.1000, 0.1000]))
    """
    if old is None:
        return new
    (data, losses), (old_data, old_losses) = new, old
    wins = losses < old_losses
    by_item = wins.view(*wins.shape, *[1] * (data.ndim - wins.ndim))
    return torch.where(by_item, data, old_data), torch.where(wins, losses, old_losses)


def _built(
    perturbation: Any, optimizer: Any, data: Tensor, settings: dict[str, Any]
) -> tuple[PerturbationModel, Optimizer]:
    """Return the perturbation and the optimizer of its parameters."""
    is_built = not isinstance(perturbation, type | partial)
    perturbed = perturbation if is_built else perturbation(data)
    if not isinstance(perturbed, PerturbationModel):
        rule = "a perturbation, which is called with data and has parameters, or its class"
        raise RefusedType("perturbation_model", rule, perturbation)
    if not isinstance(optimizer, Optimizer):
        if not callable(optimizer):
            raise RefusedType("optimizer", "an optimizer, its class, or a partial of it", optimizer)
        optim = optimizer(perturbed.parameters(), **settings)
        if not isinstance(optim, Optimizer):
            raise RefusedType("optimizer", "what makes an optimizer", optim)
        return perturbed, optim
    if not is_built:
        rule = "the class beside the class of a perturbation, whose parameters are not made yet"
        raise RefusedType("optimizer", rule, type(optimizer).__name__)
    if settings:
        rule = f"the class beside its settings, {', '.join(settings)}"
        raise RefusedType("optimizer", rule, f"a built {type(optimizer).__name__}")
    return perturbed, optimizer


def _check_losses(losses: Tensor, data: Tensor) -> None:
    """Refuse losses that are not those of single items."""
    of_all = losses.ndim == 0 and data.ndim > 0
    if of_all or losses.shape != data.shape[: losses.ndim]:
        rule = f"one that gives a loss for each item, ({len(data)},), beside `use_best`"
        raise Refused("criterion", rule, tuple(losses.shape))
