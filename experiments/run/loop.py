"""The training loop."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from experiments.observers.contract import Evaluated, Event, Stepped
from experiments.run.judging import check_finite, judge, models, weights
from experiments.run.parts import Parts
from experiments.run.state import Best
from experiments.run.watching import watching


def train(parts: Parts) -> Iterator[Event]:
    """Make the steps that are left; give each, and an evaluation after every `eval_every`.

    The start and the end are evaluated always. The loss reported is the mean since the evaluation
    before, unless the task measures its own; a figure that is not finite raises `Diverged`.
    """
    state, length = parts.state, parts.length
    began = perf_counter() - state.seconds
    if state.step == 0:
        getattr(state.optimizer, "project", lambda: None)()
        yield _evaluated(parts, began)
    while state.step < length.steps:
        with watching(state):
            _step(parts)
        yield Stepped(state.step)
        if state.step % length.eval_every == 0 or state.step == length.steps:
            yield _evaluated(parts, began)


def _step(parts: Parts) -> None:
    state = parts.state
    batch = parts.batches.at(state.step) if parts.batches else None

    def closure() -> Any:
        state.optimizer.zero_grad()
        loss = parts.task.loss(state.model, batch)
        loss.backward()
        return loss

    loss: Any = state.optimizer.step(closure)
    if state.scheduler is not None:
        state.scheduler.step()
    if state.average is not None:
        state.average.update_parameters(state.model)
    state.loss, state.counted = state.loss + loss.detach(), state.counted + 1
    state.step += 1


def _evaluated(parts: Parts, began: float) -> Evaluated:
    state = parts.state
    trained = {"loss": float(state.loss) / state.counted} if state.counted else {}
    metrics = {**trained, **judge(parts, "valid", models(state))}
    check_finite(metrics, state)
    state.loss, state.counted = 0.0, 0
    state.seconds = perf_counter() - began
    best = _is_best(parts, metrics)
    if best:
        state.best = Best(state.step, metrics, weights(state) if parts.data else {})
    return Evaluated(state.step, dict(metrics), state.seconds, best)


def _is_best(parts: Parts, metrics: dict[str, float]) -> bool:
    state, goal = parts.state, parts.goal
    return state.best is None or goal.better(metrics[goal.name], state.best.metrics[goal.name])
