"""Runs of sweeps as groups: problems, and in each the contenders, which differ beyond the seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.results.summary import Summary
from experiments.results.swept import case_of, differing, is_of_problem, settings, without_seed

Runs = Mapping[Path, Summary]
"""What each run reached, by its folder."""


@dataclass(frozen=True)
class Group:
    """A problem: of each contender its name, its runs and what it sets that others do not.

    `repeats` is the number of runs that are left out, since others have their settings and seed.
    """

    name: str
    contenders: Sequence[tuple[str, Runs, Mapping[str, str]]]
    repeats: int


def grouped(runs: Runs) -> list[Group]:
    """Return the groups of some runs: one for each task, goal, model and data.

    Where nothing but model or data differs, these are the contenders.
    """
    runs = _completed(runs)
    keys = differing([settings(without_seed(one.overrides)) for one in runs.values()])
    splits = [key for key in keys if is_of_problem(key)]
    splits = splits if len(splits) < len(keys) else []
    held: dict[tuple[str, str, str], dict[Path, Summary]] = {}
    for path, one in runs.items():
        own = case_of(one.overrides, [key for key in splits if key not in ("task", "data")])
        goal = one.goal.name if one.goal else ""
        held.setdefault((one.task, own.problem, goal), {})[path] = one
    by_words = {(task, words) for task, words, _ in held}
    return [
        _group(_name(task, words, goal if len(by_words) < len(held) else ""), own)
        for (task, words, goal), own in held.items()
    ]


def printable(name: str) -> str:
    """Return a name with a mark in place of what is no letter, so that it stands in one line.

    >>> printable("a\\tb")
    'a\N{REPLACEMENT CHARACTER}b'
    """
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def apart(names: Sequence[str], tellers: Sequence[str]) -> list[str]:
    """Return names of which none is that of another, by what tells them apart, or by a number.

    >>> apart(["a", "a", "b"], ["x", "y", "z"]), apart(["a", "a"], ["", ""])
    (['a (x)', 'a (y)', 'b'], ['a (1)', 'a (2)'])
    """
    told = [
        f"{name} ({teller})" if names.count(name) > 1 and teller else name
        for name, teller in zip(names, tellers, strict=True)
    ]
    seen = [told[: place + 1].count(name) for place, name in enumerate(told)]
    return [
        f"{name} ({number})" if told.count(name) > 1 else name
        for name, number in zip(told, seen, strict=True)
    ]


def _completed(runs: Runs) -> Runs:
    """Return runs of which those that failed before they knew have identity, task and goal.

    They have those of a run with the same settings beyond the seed.
    """
    known = {without_seed(one.overrides): one for one in runs.values() if one.task}
    return {path: _like(one, known.get(without_seed(one.overrides))) for path, one in runs.items()}


def _like(one: Summary, other: Summary | None) -> Summary:
    if one.task or other is None:
        return one
    return replace(one, task=other.task, goal=other.goal, identity=other.identity)


def _name(task: str, words: str, goal: str) -> str:
    return printable(" ".join(filter(None, (task, words, f"by {goal}" if goal else ""))))


def _group(name: str, runs: Runs) -> Group:
    held: dict[object, dict[int | None, Path]] = {}
    for path, one in runs.items():
        own = held.setdefault(one.identity or without_seed(one.overrides) or path, {})
        before = own.get(one.seed)
        if before is None or (one.status == "finished" and runs[before].status != "finished"):
            own[one.seed] = path
    firsts = [runs[next(iter(own.values()))] for own in held.values()]
    given = [settings(without_seed(one.overrides)) for one in firsts]
    keys = differing(given)
    said = [" ".join(filter(None, case_of(one.overrides, keys))) or one.title for one in firsts]
    names = apart([*map(printable, said)], [one.identity[:6] for one in firsts])
    return Group(
        name,
        [
            (called, {path: runs[path] for path in own.values()}, {k: g[k] for k in keys if k in g})
            for called, own, g in zip(names, held.values(), given, strict=True)
        ],
        len(runs) - sum(map(len, held.values())),
    )
