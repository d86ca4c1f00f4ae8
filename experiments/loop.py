"""The training loop."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from experiments.tasks import Task


class Evaluation(NamedTuple):
    """What was measured after `step` steps."""

    step: int
    metrics: dict[str, float]


def train(
    task: Task, optimizer: Optimizer, steps: int, eval_every: int
) -> Iterator[Evaluation | int]:
    """Make `steps` steps; give the number of each, and an evaluation after every `eval_every`.

    The start and the end are evaluated always. The loss reported is the mean since the evaluation
    before, unless the task measures its own; a figure that is not finite ends the run with a
    `FloatingPointError`.
    """
    if hasattr(optimizer, "project"):
        optimizer.project()  # type: ignore[attr-defined]
    yield Evaluation(0, task.evaluate())
    batches = task.batches()
    total: Tensor | float = 0.0
    count = 0
    for step in range(1, steps + 1):
        total, count = total + _step(task, optimizer, next(batches)), count + 1
        yield step
        if step % eval_every == 0 or step == steps:
            loss = float(total) / count
            metrics = {"loss": loss, **task.evaluate()}
            _check_finite(metrics, step)
            yield Evaluation(step, metrics)
            total, count = 0.0, 0


def _step(task: Task, optimizer: Optimizer, batch: Any) -> Tensor:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(batch)
        loss.backward()
        return loss

    loss: Any = optimizer.step(closure)  # type: ignore[arg-type]
    return loss.detach()


def _check_finite(metrics: dict[str, float], step: int) -> None:
    wrong = next((name for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong:
        raise FloatingPointError(
            f"the {wrong} is {metrics[wrong]} by step {step}: the run diverged"
        )
