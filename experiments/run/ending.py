"""When a run is over before its steps are: its target is reached, or nothing gets better."""

from collections.abc import Iterator

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


def is_over(parts: Parts) -> bool:
    """Return whether the run ends here."""
    state, trainer = parts.state, parts.trainer
    if trainer.end_at_target and "step" in state.target:
        return True
    return trainer.patience is not None and state.stale >= trainer.patience
