"""What is searched: the ranges of the command line, or the space of the chosen optimizer."""

import re
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.types import IntervalSweep, Override, ValueType
from omegaconf import DictConfig, OmegaConf

from experiments.cli.command import overrides_of
from xformopt import recipes
from xformopt.recipes import Range, Space
from xformopt.refused import Refused


def without_ranges(arguments: Sequence[str]) -> tuple[list[str], Space]:
    """Take ranges out of a command line: `lr=interval(1,2)`, `lr=tag(log,interval(1e-4,1e-1))`."""
    found: Space = {}
    lines = {override.input_line: override for override in overrides_of(arguments)}
    for override in lines.values():
        if override.value_type == ValueType.INTERVAL_SWEEP:
            found[override.get_key_element()] = _range(override)
    others = [a for a in arguments if a not in lines or lines[a].get_key_element() not in found]
    return others, found


def check_searched(ranges: Space, arguments: Sequence[str]) -> None:
    """Refuse ranges that nothing searches."""
    for key in ranges:
        if not any(a.startswith("hydra/sweeper=") for a in arguments):
            rule = "a value: `sweep.trials=N` or `hydra/sweeper=optuna` searches an interval"
            raise Refused(f"`{key}` must be {rule}")


def space_of(cfg: DictConfig, fixed: Iterable[str]) -> Space:
    """Return the space of the chosen optimizer, without what the command has fixed."""
    choices = cfg.hydra.runtime.choices
    recipe, inner = (choices.get(group) or "" for group in ("optim", "optim/inner"))
    inner = inner.rpartition(".")[2]
    space = recipes.space(
        recipe if recipe in recipes.names() else None,
        inner if inner in recipes.inner_classes() else None,
    )
    found = {f"optim.{key}": searched for key, searched in space.items()}
    left = [k for k in found if k not in {*fixed} and OmegaConf.select(cfg, k) is not None]
    if not left:
        rule = f"a search: nothing of `optim={recipe}` is left to search"
        raise Refused("sweep.trials", rule, None, "give a range: `KEY=tag(log,interval(1,10))`")
    return {key: found[key] for key in left}


def _range(override: Override) -> Range:
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    low, high = interval.start or 0.0, interval.end or 0.0
    by_factors = "log" in interval.tags
    if not low < high or (by_factors and low <= 0):
        rule = "an interval from low to high" + (", above 0 for `log`" if by_factors else "")
        raise Refused(override.get_key_element(), rule, override.get_value_string())
    said = re.findall(r"[-+.\d]\S*?(?=[,)])", override.get_value_string())
    if all(number.lstrip("-+").isdigit() for number in said):
        return Range(int(low), int(high), by_factors)
    return Range(low, high, by_factors)
