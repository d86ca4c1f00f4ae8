"""The training loop."""

from collections.abc import Iterator
from time import perf_counter

from experiments.observers.contract import Evaluated, Event, Stepped
from experiments.run import against
from experiments.run.ending import is_over, note_target
from experiments.run.judging import check_finite, gather, judge, models, weights
from experiments.run.parts import Parts
from experiments.run.ranks import of_first
from experiments.run.robust import in_training
from experiments.run.state import Best, Judged, State
from experiments.run.stepping import step
from experiments.run.watching import watching
from experiments.run.world import without_trace


def train(parts: Parts) -> Iterator[Event]:
    """Make the steps that are left; give each, and an evaluation where one is due.

    The start and the end are evaluated always. The loss reported is the mean since the evaluation
    before, unless the task measures its own; a figure that is not finite raises `Diverged`.
    """
    state, length = parts.state, parts.length
    began = perf_counter() - state.seconds
    if state.step == 0:
        getattr(state.optimizer, "project", lambda: None)()
        yield _evaluated(parts, began)
    while state.step < length.steps and not is_over(parts):
        _mode(state, "train")
        with watching(state):
            step(parts)
        state.seconds = perf_counter() - began
        yield Stepped(state.step)
        if is_judged(parts):
            yield _evaluated(parts, began)


def is_judged(parts: Parts) -> bool:
    """Return whether the model is judged after this step."""
    step, length = parts.state.step, parts.length
    return step % length.eval_every == 0 or step == length.steps


def _evaluated(parts: Parts, began: float) -> Evaluated:
    state = parts.state
    _mode(state, "eval")
    trained = {"loss": float(state.loss) / state.counted} if state.counted else {}
    judged = judge(parts, "valid", models(state))
    before = against.said(parts)
    with without_trace():
        robust = in_training(parts, models(state)) | against.figures(parts)
    notes = tuple(said for said in against.said(parts) if said not in before)
    metrics = of_first({**trained, **judged, **robust})
    check_finite(metrics, state)
    gather(state)
    state.loss, state.counted = 0.0, 0
    state.seconds = perf_counter() - began
    note_target(parts, metrics)
    best = _is_best(parts, metrics)
    state.stale = 0 if best else state.stale + 1
    state.last = Judged(state.step, metrics)
    if best:
        state.best = Best(state.step, metrics, weights(state) if parts.data else {})
    return Evaluated(state.step, dict(metrics), state.seconds, best, notes)


def _is_best(parts: Parts, metrics: dict[str, float]) -> bool:
    state, goal = parts.state, parts.goal
    return state.best is None or goal.better(metrics[goal.name], state.best.metrics[goal.name])


def _mode(state: State, name: str) -> None:
    """Put an optimizer that has modes, a schedule-free one, into that one."""
    getattr(state.optimizer, name, lambda: None)()
