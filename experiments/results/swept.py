"""In which settings the runs of a sweep differ."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

PROBLEMS = ("task", "data", "model")
"""Keys that set a problem; all else that is swept tells contenders apart."""


class Case(NamedTuple):
    """A contender on a problem, each as the command line says it."""

    problem: str
    contender: str


def settings(overrides: Sequence[str]) -> dict[str, str]:
    """Return what a command set, by key.

    >>> settings(["optim=lion", "+optim/transforms=clip_norm"])
    {'optim': 'lion', 'optim/transforms': 'clip_norm'}
    """
    cut = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, _, value in cut}


def part_of(key: str) -> str:
    """Return which part of a config a key or group is of.

    >>> part_of("optim/inner"), part_of("optim.inner.lr"), part_of("seed")
    ('optim', 'optim', 'seed')
    """
    return key.partition(".")[0].partition("/")[0]


def sets_any(override: str, keys: Container[str]) -> bool:
    """Return whether what is set, or the part that it is of, is among some keys.

    >>> sets_any("trainer.steps=9", {"trainer"}), sets_any("trainer.steps=9", {"trainer.epochs"})
    (True, False)
    """
    return any(key in keys or part_of(key) in keys for key in settings([override]))


def is_of_problem(key: str) -> bool:
    """Return whether a key sets a problem.

    >>> is_of_problem("data.valid"), is_of_problem("optim")
    (True, False)
    """
    return part_of(key) in PROBLEMS


def case_of(overrides: Sequence[str], swept: Iterable[str]) -> Case:
    """Return whose run it is that sets this, by the keys that are swept.

    >>> case_of(["task=digits", "optim=lion", "seed=1"], ["task", "optim"])
    Case(problem='task=digits', contender='lion')
    """
    held = settings(overrides)
    own = {key: held[key] for key in swept if key in held}
    problem = " ".join(f"{k}={v}" for k, v in own.items() if is_of_problem(k))
    said = (v if k == "optim" else f"{k}={v}" for k, v in own.items() if not is_of_problem(k))
    return Case(problem, " ".join(said))


def without_seed(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return what a command set beside the seed."""
    return tuple(o for o in overrides if not o.lstrip("+").startswith("seed="))


def differing(held: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ, or that some have and others have not.

    >>> differing([{"lr": 1, "seed": 0}, {"lr": 2, "seed": 0, "ema": 0.9}])
    ['lr', 'ema']
    """
    keys = dict.fromkeys(key for one in held for key in one)
    return [key for key in keys if any(one.get(key) != held[0].get(key) for one in held)]


def swept(jobs: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Return what each job sets that another sets otherwise, or not at all.

    >>> swept([["lr=1", "seed=0"], ["lr=2", "seed=0"]])
    [{'lr': '1'}, {'lr': '2'}]
    """
    held = [settings(job) for job in jobs]
    keys = differing(held)
    return [{key: one[key] for key in keys if key in one} for one in held]


def varied(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return the same as words of a command line."""
    return [" ".join(f"{k}={v}" for k, v in one.items()) for one in swept(jobs)]


def as_value(text: str) -> Any:
    """Return a number, truth or null where a text is one; all else is text.

    >>> as_value("1e-3"), as_value("lion"), as_value("null")
    (0.001, 'lion', None)
    """
    try:
        value = float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text
    return text if isinstance(value, list | dict) else value


def flattened(held: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a config by dotted key; lists are text.

    >>> flattened({"optim": {"inner": {"lr": 0.1}, "betas": [0.9, 0.99]}, "data": None})
    {'optim.inner.lr': 0.1, 'optim.betas': '[0.9, 0.99]', 'data': None}
    """
    found: dict[str, Any] = {}
    for key, value in held.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value) if isinstance(value, list) else value
    return found
