"""Weights under conditions: what is measured, and what should be known of it."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from math import isfinite
from time import perf_counter
from typing import Literal, NamedTuple

import torch
from torch import nn

from experiments.data.batches import Batch, in_order
from experiments.data.contract import Images
from experiments.evaluation.conditions import Condition
from experiments.results.evaluations import Evaluation, Record
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


class Asked(NamedTuple):
    """What is asked of weights: how they are judged, on which images, under which conditions.

    `record` keeps what is measured, and `notes` what should be known of it.
    """

    evaluate: Callable[[nn.Module, Iterable[Batch]], dict[str, float]]
    goal: Metric
    split: str
    images: Images
    conditions: Sequence[Condition]
    record: Record
    notes: list[str]

    def of(self, weights: Weights, *, as_last: bool = False) -> Iterator[tuple[Evaluation, bool]]:
        """Give the metrics of weights under each condition, and whether they are new.

        The model evaluates already. What is on record is not measured again; nor is what the last
        weights have, where these are the same.
        """
        found: list[Evaluation] = []
        for condition in self.conditions:
            asked = self._described(weights, condition)
            one = self.record.find(asked)
            is_new = one is None
            if one is None:
                twin = self.record.find(replace(asked, weights="last")) if as_last else None
                one = twin or self._measured(asked, weights, condition)
                one = replace(one, weights=asked.weights)
                self.record.keep(one)
            found.append(one)
            yield one, is_new
        self.notes.extend(masked(self.conditions, found, self.goal))

    def _measured(self, asked: Evaluation, weights: Weights, condition: Condition) -> Evaluation:
        began = perf_counter()
        device = next(weights.model.parameters()).device
        images = in_order(condition.of(self.images), device, AT_A_TIME)
        with noting(self.notes, condition):
            metrics = self.evaluate(weights.model, condition.batches(weights.model, images))
        seconds = round(perf_counter() - began, 3)
        wrong = next((name for name, value in metrics.items() if not isfinite(value)), None)
        if wrong:
            raise FloatingPointError(f"the {wrong} is {metrics[wrong]} under {condition.label}")
        return replace(asked, metrics={k: float(v) for k, v in metrics.items()}, seconds=seconds)

    def _described(self, weights: Weights, condition: Condition) -> Evaluation:
        """Return what would be measured, without metrics."""
        return Evaluation(
            weights=weights.which,
            average=weights.average,
            split=self.split,
            kind=condition.kind,
            name=condition.name,
            level=condition.level,
            settings=condition.settings,
            count=condition.count(self.images),
            metrics={},
            norm=condition.norm,
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
    ours = [one for one in caught if issubclass(one.category, AttackWarning)]
    for _, warned in groupby(sorted(ours, key=_kind), _kind):
        first, *others = warned
        times = f", and of {len(others)} more batches the like" if others else ""
        notes.append(f"`eval.attacks`, {condition.label}: {first.message}{times}")
    for one in caught:
        if one not in ours:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _kind(one: warnings.WarningMessage) -> str:
    return one.category.__name__


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
