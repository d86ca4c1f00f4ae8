"""Image classification."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from experiments import register
from experiments.data.batches import Batch, in_order
from experiments.data.contract import Data
from experiments.data.taking import in_memory
from experiments.evaluation.clean import outputs
from experiments.evaluation.metrics import accuracy, loss
from experiments.observers.contract import Observer
from experiments.observers.mistakes import Mistakes
from experiments.results.metric import Metric
from experiments.tasks.contract import Task
from xformopt.perturbations import evaluating
from xformopt.refused import Refused

Measure = Callable[[Tensor, Tensor], Tensor]
"""A metric `f(logits, labels)`, registered by `register.metric`."""


class Classification(Task):
    """Minimises the cross-entropy; judged by metrics of logits and labels."""

    choices: ClassVar = {"metrics": ["loss", "accuracy"]}

    def __init__(
        self,
        metrics: Mapping[str, Measure | None] | None = None,
        goal: str = "accuracy",
        label_smoothing: float = 0.0,
    ) -> None:
        """Keep the metrics by name, loss and accuracy by default; one that is None is left out."""
        metrics = {"loss": loss, "accuracy": accuracy} if metrics is None else metrics
        if isinstance(label_smoothing, bool) or not 0 <= label_smoothing < 1:
            raise Refused("label_smoothing", "a number in [0, 1)", label_smoothing)
        self.measures = {name: measure for name, measure in metrics.items() if measure}
        self.metrics = tuple(as_metric(name, fn) for name, fn in self.measures.items())
        if goal not in self.measures:
            raise Refused("goal", f"one of the metrics, {', '.join(self.measures)}", goal)
        self.goal = next(metric for metric in self.metrics if metric.name == goal)
        self.label_smoothing = label_smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        images, labels = batch
        return nn.functional.cross_entropy(
            model(images), labels, label_smoothing=self.label_smoothing
        )

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """Return each metric."""
        logits, labels = outputs(model, batches)
        return {name: _measured(name, fn, logits, labels) for name, fn in self.measures.items()}

    def check(self, model: nn.Module, data: Data) -> Sequence[str]:
        """Refuse a network without a number for each class, by which this task judges."""
        if type(self).evaluate is not Classification.evaluate:
            return ()
        asked = data.train.part(torch.arange(min(2, len(data.train))))
        device = next((p.device for p in model.parameters()), None)
        try:
            with evaluating(model):
                logits, _ = outputs(model, in_order(asked, device))
        except Exception as error:
            error.add_note(f"`model` was given images of shape {tuple(data.shape)}, (C, H, W)")
            raise
        if logits.ndim != 2 or logits.shape[1] < data.classes:
            rule = f"a network that answers an image by a number for each of {data.classes} classes"
            way_out = "a function that asks for `shape` and `classes` is given those of the data"
            raise Refused("model", rule, tuple(logits.shape[1:]), way_out)
        spare = logits.shape[1] - data.classes
        said = f"`model`: it has {logits.shape[1]} outputs, for {data.classes} classes"
        return (said,) if spare else ()

    def observers(self, data: Data) -> Mapping[str, Observer]:
        """Return who draws which test images are taken for what."""

        def answers(model: nn.Module) -> tuple[Tensor, Tensor]:
            device = next(model.parameters()).device
            with evaluating(model):
                return outputs(model, in_order(data.test, device))

        def pixels(chosen: Tensor) -> Tensor:
            held = data.test.part(chosen).pixels
            return held if isinstance(held, Tensor) else in_memory(held)

        return {"mistakes": Mistakes(answers, pixels, data.names)}


register.task(Classification, name="classification")


def _measured(name: str, measure: Measure, logits: Tensor, labels: Tensor) -> float:
    try:
        return float(measure(logits, labels))
    except Exception as error:
        error.add_note(f"in the metric `{name}`")
        raise


def as_metric(name: str, measure: Measure) -> Metric:
    """Return what a measure was registered as; by itself or behind a partial."""
    known = vars(getattr(measure, "func", measure))
    if "mode" not in known:
        raise Refused(f"metrics.{name}", "decorated by `register.metric(mode)`", measure)
    return Metric(name, *(known[key] for key in Metric._fields[1:]))
