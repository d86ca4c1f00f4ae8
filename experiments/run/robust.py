"""How robust the weights of a run are: under its conditions, on a part of its data."""

from collections.abc import Sequence

from experiments.evaluation.measuring import Asked, Weights, Which, answers_to_note
from experiments.results.evaluations import Evaluation, Record, flat
from experiments.run.judging import Models
from experiments.run.parts import Parts
from experiments.run.stepping import precision
from xformopt.perturbations import evaluating


def evaluations(
    parts: Parts, split: str, which: Which, judged: Models, record: Record, notes: list[str]
) -> list[Evaluation]:
    """Return the metrics of weights under each condition, and add to the notes what warns.

    What a run that was cut off has on record is not measured again.
    """
    if not (parts.robustness and parts.data):
        return []
    images = parts.robustness.part(parts.data.parts[split])
    conditions = list(parts.robustness.conditions(parts.data, split))
    task = parts.task
    asked = Asked(task.evaluate, task.goal, split, images, conditions, record, notes)
    found: list[Evaluation] = []
    for average, model in judged:
        with evaluating(model), precision(parts.trainer, parts.device):
            found += [one for one, _ in asked.of(Weights(model, which, average))]
    return found


def figures_of(parts: Parts, found: Sequence[Evaluation]) -> dict[str, float]:
    """Return the goal under each condition."""
    return flat(found, parts.task.goal.name)


def in_training(parts: Parts, judged: Models) -> dict[str, float]:
    """Return the same on the valid part, where an evaluation in training asks for them."""
    every, step, length = parts.robustness.every, parts.state.step, parts.length
    number = step // length.eval_every
    if every is None or not (step == length.steps or (number and number % every == 0)):
        return {}
    found = evaluations(parts, "valid", "last", judged, Record(None), notes=[])
    return figures_of(parts, found)


def remarks_on(parts: Parts) -> list[str]:
    """Return why attacks on what was trained may say too much, by what it answers."""
    if not (parts.robustness.attacks and parts.data):
        return []
    model = parts.state.model
    with evaluating(model), precision(parts.trainer, parts.device):
        return answers_to_note(model, parts.data.test)
