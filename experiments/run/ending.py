"""How a run ends: early, where its target is reached or nothing gets better, or for the worse."""

from collections.abc import Iterator, Mapping

from experiments.run.parts import Parts


def note_target(parts: Parts, metrics: dict[str, float]) -> None:
    """Note the target, and when the goal first came up to it."""
    state, target, goal = parts.state, parts.trainer.target, parts.goal
    if target is None or "step" in state.target:
        return
    state.target = {"value": target}
    reached = metrics[goal.name]
    if reached == target or goal.better(reached, target):
        state.target |= {"step": state.step, "seconds": round(state.seconds, 3)}


def ended_early(parts: Parts) -> Iterator[str]:
    """Say why a run ended before its steps were made, if it did."""
    state, steps = parts.state, parts.length.steps
    if state.step < steps and state.best and is_over(parts):
        reached = parts.trainer.end_at_target and "step" in state.target
        better = f"no better {parts.goal.name} since step {state.best.step}"
        why = "`trainer.target` was reached" if reached else f"`trainer.patience`, {better}"
        yield f"the run ended at step {state.step} of {steps}: {why}"


def ended_worse(parts: Parts, first: Mapping[str, float]) -> Iterator[str]:
    """Say which metrics are worse than they were at first, before any step."""
    last = parts.state.last.metrics if parts.state.last else {}
    split = "valid" if parts.data else ""
    worse = [
        f"{name} is {last[name]:.4g}, and was {first[name]:.4g}"
        for name, metric in ((metric.on(split).name, metric) for metric in parts.task.metrics)
        if name in last and name in first and metric.better(first[name], last[name])
    ]
    if worse:
        yield f"the run ended worse than it began: {'; '.join(worse)}"


def is_over(parts: Parts) -> bool:
    """Return whether the run ends here."""
    state, trainer = parts.state, parts.trainer
    if trainer.end_at_target and "step" in state.target:
        return True
    return trainer.patience is not None and state.stale >= trainer.patience
