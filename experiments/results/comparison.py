"""What a fair comparison shows: contenders that were each tuned, beside one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from statistics import mean, stdev

from experiments.results.leaderboard import test_of
from experiments.results.metric import Metric
from experiments.results.profiles import scores
from experiments.results.statistics import detectable, differences, interval
from experiments.results.summary import Summary
from xformopt.text import as_markdown


@dataclass(frozen=True)
class Entry:
    """A contender: what its tuning chose, of how many trials, and its final runs.

    `to_target` are steps and seconds until the target by seed, of the runs that came up to it.
    """

    name: str
    chosen: str
    tuned: Sequence[Summary | None]
    final: Sequence[Summary | None]
    to_target: Mapping[int, tuple[float, float]]

    @cached_property
    def finished(self) -> dict[int, Summary]:
        """Return the final runs that are finished, by seed."""
        return {one.seed or 0: one for one in self.final if one and one.status == "finished"}

    @property
    def runs(self) -> list[Summary | None]:
        """Return all of its runs."""
        return [*self.tuned, *self.final]


@dataclass(frozen=True)
class Comparison:
    """Contenders on one problem, over the seeds that all who have any final run have finished."""

    entries: Sequence[Entry]
    target: float | None = None

    @cached_property
    def seeds(self) -> list[int]:
        """Return these seeds."""
        held = [set(entry.finished) for entry in self.entries if entry.finished]
        return sorted(set.intersection(*held)) if held else []

    @cached_property
    def metric(self) -> Metric:
        """Return what is judged: the goal on `test`, where all runs have such a figure."""
        found = [one for entry in self.entries for one in entry.finished.values()]
        goal = next(one.goal for one in found if one.goal)
        test = test_of(goal.name)
        return goal._replace(name=test if all(test in one.final for one in found) else goal.name)

    @cached_property
    def figures(self) -> dict[str, list[float]]:
        """Return the figure of each contender for each seed, the best contender first."""
        held = {
            entry.name: [entry.finished[seed].final[self.metric.name] for seed in self.seeds]
            for entry in self.entries
            if entry.finished
        }
        sign = -1 if self.metric.mode == "max" else 1
        return dict(sorted(held.items(), key=lambda one: sign * mean(one[1])))

    @cached_property
    def scores(self) -> dict[str, float]:
        """Return the score of each contender's profile of steps to the target over the seeds."""
        held = {entry.name: entry.to_target for entry in self.entries if entry.finished}
        times = {k: [own.get(s, (inf, inf))[0] for s in self.seeds] for k, own in held.items()}
        return scores(times) if self.target is not None else {}

    @property
    def ranked(self) -> list[Entry]:
        """Return the contenders, the best first, those without a figure last."""
        order = {name: i for i, name in enumerate(self.figures)}
        return sorted(self.entries, key=lambda entry: order.get(entry.name, len(order)))


def as_text(comparison: Comparison) -> str:
    """Lay out contenders, pairs, and the least difference that can be seen."""
    if not comparison.seeds:
        return "no seed was finished by all contenders: there is nothing to compare"
    held = comparison.figures
    count, pairs, least = len(comparison.seeds), len(held) * (len(held) - 1) // 2, detectable(held)
    seen = (
        f"With {count} seeds a pair whose differences spread as those of all pairs do together "
        f"must differ by {least:.4g} to be seen in 80 % of studies, at 5 % for all {pairs} "
        "pairs together."
    )
    said = seen if least < inf else "Neither one seed nor one contender shows a difference."
    return "\n\n".join(filter(None, [_contenders(comparison), _pairs(comparison), said]))


def _contenders(comparison: Comparison) -> str:
    head = ["contender", "chosen", f"{comparison.metric.name} ± sd", "95 % interval"]
    head += ["trials", "seeds", "failed", "seconds in all"]
    if comparison.target is not None:
        head += [f"to {comparison.target:g}", "profile of steps"]
    rows = [_row(comparison, entry) for entry in comparison.ranked]
    return as_markdown(head, rows, aligned=True)


def _row(comparison: Comparison, entry: Entry) -> list[str]:
    held = comparison.figures.get(entry.name, [])
    tuned = sum(one is not None and one.status == "finished" for one in entry.tuned)
    failed = sum(one is None or one.status != "finished" for one in entry.runs)
    seconds = sum(one.seconds for one in entry.runs if one)
    row = [entry.name, entry.chosen, as_spread(held), as_interval(held)]
    row += [f"{tuned}/{len(entry.tuned)}", f"{len(entry.finished)}/{len(entry.final)}"]
    row += [str(failed), f"{seconds:.0f}"]
    if comparison.target is not None:
        of = comparison.scores.get(entry.name)
        row += [_to_target(entry), "" if of is None else f"{of:.2f}"]
    return row


def _pairs(comparison: Comparison) -> str:
    rows = [
        [
            f"{one.one} over {one.other}",
            f"{one.mean:+.4g}",
            f"{one.low:+.4g} to {one.high:+.4g}",
            f"{one.p:.2g}",
            "yes" if one.is_seen else "no difference is seen",
        ]
        for one in differences(comparison.figures)
    ]
    head = ["pair", "difference", "95 % interval", "p, after Holm", "more than chance"]
    return as_markdown(head, rows, aligned=True) if rows else ""


def _to_target(entry: Entry) -> str:
    """Return mean steps and seconds until the target, and by how many runs, where not by all."""
    if not entry.to_target:
        return "not reached"
    steps, seconds = (mean(values) for values in zip(*entry.to_target.values(), strict=True))
    count = len(entry.to_target)
    short = f", {count} of {len(entry.final)}" if count < len(entry.final) else ""
    return f"{steps:.0f} steps, {seconds:.1f} s{short}"


def as_spread(values: Sequence[float]) -> str:
    """Return the mean of some figures, and their standard deviation where there are several.

    >>> as_spread([0.5, 0.6]), as_spread([0.5]), as_spread([])
    ('0.55 ± 0.071', '0.5', '')
    """
    if not values:
        return ""
    return f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def as_interval(values: Sequence[float]) -> str:
    """Return the interval of the mean of some figures, "" of fewer than two.

    >>> as_interval([0.5, 0.5, 0.5]), as_interval([0.5])
    ('0.5 to 0.5', '')
    """
    if len(values) < 2:
        return ""
    low, high = interval(values)
    return f"{low:.4g} to {high:.4g}"
