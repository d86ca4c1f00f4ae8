"""How robust the weights of a run are: under its conditions, on a part of its data."""

from collections.abc import Iterable, Sequence

from experiments.evaluation.measuring import (
    Weights,
    Which,
    answers_to_note,
    described,
    measure,
    noting,
)
from experiments.results.evaluations import Evaluation, flat, read
from experiments.results.folder import RunFolder
from experiments.run.judging import Models, check_finite
from experiments.run.parts import Parts
from experiments.run.stepping import precision
from xformopt.perturbations import evaluating


def evaluations(
    parts: Parts,
    split: str,
    which: Which,
    judged: Models,
    notes: list[str],
    folder: RunFolder | None = None,
) -> list[Evaluation]:
    """Return the metrics of weights under each condition, and add to the notes what warns.

    In a folder each is kept as it comes, and what a run that was cut off has kept is not measured
    again.
    """
    found: list[Evaluation] = []
    if not (parts.robustness and parts.data):
        return found
    images = parts.robustness.part(parts.data.parts[split])
    done = {one.key: one for one in read(folder.path)} if folder else {}
    for average, model in judged:
        weights = Weights(model, which, average)
        with evaluating(model), precision(parts.trainer, parts.device):
            for condition in parts.robustness.conditions(parts.data, split):
                one = done.get(described(weights, split, images, condition).key)
                if one is None:
                    with noting(notes, condition):
                        one = measure(parts.task.evaluate, weights, split, images, condition)
                    if folder:
                        folder.append_evaluation(one)
                found.append(one)
    return found


def keep(folder: RunFolder, found: Iterable[Evaluation]) -> None:
    """Keep what was measured of the same weights already, unless it is there."""
    done = {one.key for one in read(folder.path)}
    for one in found:
        if one.key not in done:
            folder.append_evaluation(one)


def figures_of(parts: Parts, found: Sequence[Evaluation]) -> dict[str, float]:
    """Return the goal under each condition, finite as all that is saved."""
    figures = flat(found, parts.task.goal.name)
    check_finite(figures, parts.state)
    return figures


def in_training(parts: Parts, judged: Models) -> dict[str, float]:
    """Return the same on the valid part, where an evaluation in training asks for them."""
    every, step, length = parts.robustness.every, parts.state.step, parts.length
    number = step // length.eval_every
    if every is None or not (step == length.steps or (number and number % every == 0)):
        return {}
    return figures_of(parts, evaluations(parts, "valid", "last", judged, []))


def remarks_on(parts: Parts) -> list[str]:
    """Return why attacks on what was trained may say too much, by what it answers."""
    if not (parts.robustness.attacks and parts.data):
        return []
    model = parts.state.model
    with evaluating(model), precision(parts.trainer, parts.device):
        return answers_to_note(model, parts.data.test)
