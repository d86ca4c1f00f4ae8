"""When a run is over before its steps are: its target is reached, or nothing gets better."""

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


def is_over(parts: Parts) -> bool:
    """Return whether the run ends here."""
    state, trainer = parts.state, parts.trainer
    if trainer.end_at_target and "step" in state.target:
        return True
    return trainer.patience is not None and state.stale >= trainer.patience
