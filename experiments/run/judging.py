"""How good the weights are, and the averages of them that are kept beside."""

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from experiments.data.batches import in_order
from experiments.run.parts import Parts
from experiments.run.ranks import whole
from experiments.run.state import State, Weights, copied
from experiments.run.stepping import precision
from xformopt.optim import averages
from xformopt.perturbations import evaluating

EMA = "ema"
"""What the average of `trainer.ema` is called; one that a link keeps has the link's name."""


Models = Iterable[tuple[str, nn.Module]]
"""A model, named "", and with averages of its weights, by name."""


def judge(parts: Parts, split: str, models: Models) -> dict[str, float]:
    """Return each metric on a part of the data; those of an average have its name before them."""
    figures: dict[str, float] = {}
    data = parts.data
    for name, model in models:
        with evaluating(model), precision(parts.trainer, parts.device):
            batches = in_order(data.parts[split], parts.device) if data else ()
            measured = parts.task.evaluate(model, batches)
        missing = [metric.name for metric in parts.task.metrics if metric.name not in measured]
        if missing:
            raise KeyError(f"`evaluate` of the task returns no `{missing[0]}`, one of its metrics")
        figures |= {_named(name, split if data else "", k): float(v) for k, v in measured.items()}
    return figures


def models(state: State) -> Iterator[tuple[str, nn.Module]]:
    """Give the model as it is, named "", and with each average of its weights by name."""
    yield "", state.model
    if state.average is not None:
        yield EMA, state.average.module
    for link, kept in averages(state.optimizer).items():
        if kept:
            model = copy.deepcopy(state.model)
            with torch.no_grad():
                for own, p in zip(model.parameters(), state.model.parameters(), strict=True):
                    own.copy_(kept.get(p, p))
            yield link, model


def gather(state: State) -> None:
    """Bring sharded weights together in the plain model, on all ranks at once."""
    if state.plain is not None:
        state.plain.load_state_dict(whole(state.model.state_dict()))


def whole_models(state: State) -> Iterator[tuple[str, nn.Module]]:
    """Give the same for one rank to use; where weights are sharded, as they were last gathered."""
    yield from models(state) if state.plain is None else [("", state.plain)]


def weights(state: State) -> dict[str, Weights]:
    """Return copies of the weights, and of each average of them."""
    return {name: copied(model.state_dict()) for name, model in whole_models(state)}


def with_weights(model: nn.Module, kept: dict[str, Weights]) -> Iterator[tuple[str, nn.Module]]:
    """Give copies of a model with other weights, by name."""
    for name, held in kept.items():
        other = copy.deepcopy(model)
        other.load_state_dict(dict(held))
        yield name, other


class Diverged(FloatingPointError):
    """A figure is not finite: the run cannot go on."""

    def __init__(self, name: str, value: float, step: int, rates: Any = ()) -> None:
        """Keep the figure, and the rates by which it came to that."""
        by = f"by step {step}: the run diverged" if step else "at step 0"
        super().__init__(f"the {name} is {value} {by}")
        self.step, self.rates = step, tuple(rates)


def check_finite(metrics: dict[str, float], state: State) -> None:
    """Raise `Diverged` where a figure is not finite."""
    wrong = next((name for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong:
        raise Diverged(wrong, metrics[wrong], state.step, sorted(rates(state.optimizer)))


def rates(optimizer: Optimizer) -> set[float]:
    """Return the learning rates of all groups that have one."""
    return {float(group["lr"]) for group in optimizer.param_groups if "lr" in group}


def _named(average: str, split: str, metric: str) -> str:
    return "_".join(filter(None, (average, split, metric)))
