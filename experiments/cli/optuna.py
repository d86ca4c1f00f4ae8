"""Optuna's sweeper: its direction is that of the goal; a study begins with what is finished."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra_zen import instantiate
from omegaconf import DictConfig

from experiments.cli.sweep import Sweep
from experiments.results.swept import as_value, settings

DIRECTION = "hydra.sweeper.direction"
DIRECTIONS = {"min": "minimize", "max": "maximize"}


def optunas(sweeper: Sweeper) -> Any:
    """Return what is behind a sweeper of the plugin; None of another."""
    return getattr(sweeper, "sweeper", None) if type(sweeper).__name__ == "OptunaSweeper" else None


def prepare(own: Any, sweep: Sweep, config: DictConfig) -> None:
    """Tell Optuna what is better, unless the command does, and what is done."""
    if not any(one.startswith(f"{DIRECTION}=") for one in config.hydra.overrides.hydra):
        own.direction = DIRECTIONS[instantiate(config.task).goal.mode]
    ask = own.sweep

    def rebuilt(arguments: Sequence[str]) -> Any:
        import optuna

        make = optuna.create_study

        def create_study(**given: Any) -> Any:
            study = make(**given)
            has_grid = isinstance(given["sampler"], optuna.samplers.GridSampler)
            done = [] if has_grid else _trials(own, sweep, arguments)
            known = [one.params for one in study.trials]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is experimental
                study.add_trials([one for one in done if one.params not in known])
            own.n_trials = max(0, own.n_trials - len(done))
            if done:
                print(f"note: the study begins with {len(done)} finished runs", flush=True)
            return study

        optuna.create_study = create_study
        try:
            return ask(arguments)
        finally:
            optuna.create_study = make

    own.sweep = rebuilt


def _trials(own: Any, sweep: Sweep, arguments: Sequence[str]) -> list[Any]:
    """Return the finished runs of a folder as trials, those that lie in the space."""
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
    from optuna.trial import create_trial

    said = [*own._parse_sweeper_params_config(), *arguments]
    space, fixed, *_ = create_params_from_overrides(said)  # 1.4 gives more
    set_here = settings([*sweep.session.rerun, *(f"{k}={v}" for k, v in fixed.items())])
    found = []
    for run in sweep.before.found.values():
        held = settings(run.overrides)
        own_keys = {key: key.lstrip("+") for key in space}
        params = {k: _value(held.pop(x), space[k]) for k, x in own_keys.items() if x in held}
        if run.status == "finished" and held == set_here and _lies_in(params, space):
            found.append(create_trial(params=params, distributions=space, value=run.reached()))
    return found


def _value(text: str, distribution: Any) -> Any:
    """Return a setting as Optuna holds it: one of its choices, or a number."""
    choices = getattr(distribution, "choices", None)
    if choices is None:
        return as_value(text)
    return next((one for one in choices if str(one) == text), text)


def _lies_in(params: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    def lies(value: Any, distribution: Any) -> bool:
        choices = getattr(distribution, "choices", None)
        if choices is not None:
            return value in choices
        return isinstance(value, int | float) and distribution.low <= value <= distribution.high

    return params.keys() == space.keys() and all(lies(params[k], space[k]) for k in space)
