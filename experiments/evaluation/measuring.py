"""Weights under conditions: what is measured, and what should be known of it."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Literal, NamedTuple

import torch
from torch import nn

from experiments.data.batches import Batch, in_order
from experiments.data.contract import Images
from experiments.evaluation.conditions import Condition
from experiments.results.evaluations import Evaluation
from experiments.results.metric import Metric
from xformopt.perturbations import AttackWarning, remarks

AT_A_TIME = 250
"""So many images are attacked at a time, whose gradients are kept."""

SHOWN = 16
"""Of so many images the answers are looked at, whether they are random or probabilities."""


Which = Literal["last", "best"]


class Weights(NamedTuple):
    """Whose answers are measured: a model with the last or the best weights, or an average."""

    model: nn.Module
    which: Which = "last"
    average: str = ""


def measure(
    evaluate: Callable[[nn.Module, Iterable[Batch]], dict[str, float]],
    weights: Weights,
    split: str,
    images: Images,
    condition: Condition,
) -> Evaluation:
    """Return the metrics of weights on a part, under a condition; the model evaluates already."""
    began = perf_counter()
    device = next(weights.model.parameters()).device
    taken = condition.of(images)
    batches = condition.batches(weights.model, in_order(taken, device, AT_A_TIME))
    metrics = {name: float(value) for name, value in evaluate(weights.model, batches).items()}
    seconds = round(perf_counter() - began, 3)
    asked = described(weights, split, images, condition)
    return replace(asked, metrics=metrics, seconds=seconds)


def described(weights: Weights, split: str, images: Images, condition: Condition) -> Evaluation:
    """Return what would be measured, without metrics."""
    return Evaluation(
        weights=weights.which,
        average=weights.average,
        split=split,
        kind=condition.kind,
        name=condition.name,
        level=condition.level,
        settings=condition.settings,
        count=len(condition.of(images)),
        metrics={},
    )


def answers_to_note(model: nn.Module, images: Images) -> list[str]:
    """Return why attacks on a model may say too much, by what it answers."""
    device = next(model.parameters()).device
    some = images.part(torch.arange(min(SHOWN, len(images)), device=images.labels.device))
    pixels, _ = next(iter(in_order(some, device)))
    return [f"`eval.attacks`: {said}" for said in remarks(model, pixels)]


@contextmanager
def noting(notes: list[str], condition: Condition) -> Iterator[None]:
    """Take up what an attack warns of within; of several batches, the first says it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AttackWarning)
        yield
    first = {type(one.message): one.message for one in reversed(caught) if _is_of_attack(one)}
    notes += [f"`eval.attacks`, {condition.label}: {said}" for said in first.values()]
    for one in caught:
        if not _is_of_attack(one):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _is_of_attack(one: warnings.WarningMessage) -> bool:
    return issubclass(one.category, AttackWarning)


def masked(
    conditions: Sequence[Condition], found: Sequence[Evaluation], goal: Metric
) -> Iterator[str]:
    """Give where an attack without gradients does more harm than all with them, of equal radius.

    Source: Athalye et al. 2018, Obfuscated gradients give a false sense of security, ICML.
    """
    attacks = [pair for pair in zip(conditions, found, strict=True) if pair[0].kind == "attack"]
    for black, reached in attacks:
        white = [
            one.metrics[goal.name]
            for other, one in attacks
            if other.gradients and (other.norm, other.level) == (black.norm, black.level)
        ]
        value = reached.metrics[goal.name]
        if white and not black.gradients and all(goal.better(other, value) for other in white):
            least = min(white) if goal.mode == "max" else max(white)
            yield (
                f"`eval.attacks`, {black.label}: without gradients it leaves {goal.name} "
                f"{value:.4g}, and those with them {least:.4g}: gradients may be masked"
            )
