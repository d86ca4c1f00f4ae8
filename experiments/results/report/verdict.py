"""What a problem shows, in a sentence, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from statistics import mean

from experiments.results.comparison import Comparison, Entry
from experiments.results.metric import Metric
from experiments.results.profiles import until
from experiments.results.report.reading import Contender, Problem
from experiments.results.statistics import Difference, detectable, differences, interval


@dataclass(frozen=True)
class Verdict:
    """A problem judged: its contenders, the leader first, and what it has beyond each other.

    Those of a comparison are ranked by `test`, where there is such a part, since their settings
    were chosen on `valid`; those of a sweep by `valid`, by which the leader is chosen. Contenders
    are told apart over the seeds that all have finished; in a sweep over those of the contender
    that has most, and others that lack one are not.
    """

    problem: Problem
    target: float | None = None

    @cached_property
    def ranked(self) -> list[Contender]:
        """Return the contenders, the leader first."""
        if self.problem.study is None:
            return self.problem.ranked
        order = {name: i for i, name in enumerate(self.comparison.figures)}
        return sorted(self.problem.ranked, key=lambda one: order.get(one.name, len(order)))

    @cached_property
    def comparison(self) -> Comparison:
        """Return the contenders over the seeds that they share."""
        held = [one for one in self.problem.ranked if one.finished]
        if held and self.problem.study is None:
            most = max((one.finished.keys() for one in held), key=len)
            held = [one for one in held if one.finished.keys() >= most]
        return Comparison([self._entry(one) for one in held], self.target)

    @cached_property
    def metric(self) -> Metric | None:
        """Return what is judged."""
        return self.comparison.metric if self.comparison.seeds else None

    @cached_property
    def figures(self) -> Mapping[str, Sequence[float]]:
        """Return the figure of each contender for each shared seed, the leader first."""
        held = self.comparison.figures if self.comparison.seeds else {}
        return {one.name: held[one.name] for one in self.ranked if one.name in held}

    @cached_property
    def beyond(self) -> dict[str, Difference]:
        """Return what the leader has beyond each other, corrected for all that are tested."""
        if len(self.comparison.seeds) < 2:
            return {}
        return {one.other: one for one in self._pairs if one.one == next(iter(self.figures))}

    @property
    def _pairs(self) -> list[Difference]:
        return differences(self.figures, self._tested)

    @property
    def _tested(self) -> str | None:
        """Return whose pairs are tested: the leader's of a sweep, None for all of a comparison."""
        return None if self.problem.study else next(iter(self.figures), None)

    @cached_property
    def least(self) -> float:
        """Return the least difference that so many seeds show in 80 % of studies."""
        return detectable(self.figures, self._tested)

    @property
    def sentence(self) -> str:
        """Return what was found."""
        count = len(self.comparison.seeds)
        if not self.figures or self.metric is None:
            return "No seed was finished by all contenders: there is nothing to compare."
        leader, *others = self.figures
        held = self.figures[leader]
        less = ", of which less is better," if self.metric.mode == "min" else ""
        reached = f"{leader} reaches {self.metric.name}{less} {mean(held):.4g}"
        if count > 1:
            reached += " (95 % interval {:.4g} to {:.4g})".format(*interval(held))
        reached += f" over {count} seed{'s' if count > 1 else ''}"
        if not others:
            return f"{reached}; there is no other contender."
        if count < 2:
            rest = f", the best of {len(self.figures)}" if self._is_by_figures else ""
            return f"{reached}{rest}: whether that is more than chance, one seed does not show."
        return f"{reached}: {self._over(others)}."

    @property
    def caveats(self) -> list[str]:
        """Return what the sentence does not show."""
        said = []
        if self.least < inf:
            said.append(
                f"With {len(self.comparison.seeds)} seeds a difference must be {self.least:.4g} to "
                "be seen in 80 % of such studies: “no difference is seen” does not say that there "
                "is none."
            )
        if self.problem.study is None and len(self.figures) > 1 and self.problem.goal:
            said.append(
                f"The leader is the best of {len(self.figures)} by {self.problem.goal.name} of the "
                "same seeds by which it is compared, which flatters it, and no contender was tuned "
                "apart: python -m experiments.compare does both."
            )
        if left := len(self.problem.contenders) - len(self.figures):
            have = "1 contender has" if left == 1 else f"{left} contenders have"
            said.append(f"{have} not finished these seeds, and cannot be compared.")
        return said

    @property
    def _is_by_figures(self) -> bool:
        held = [mean(values) for values in self.figures.values()]
        return bool(self.metric) and held[0] == (max if self.metric.mode == "max" else min)(held)

    def _over(self, others: Sequence[str]) -> str:
        """Say how the leader stands to the second, and to how many a difference is seen."""
        second = self.beyond[others[0]]
        said = f"{second.mean:+.4g} against {second.other} ({second.low:+.4g} to {second.high:+.4g}"
        said += f"; p = {second.p:.2g} after Holm), "
        said += "more than chance" if second.is_seen else "no difference is seen"
        if len(others) > 1:
            seen = sum(one.is_seen for one in self.beyond.values())
            said += f"; it differs from {seen} of {len(others)} by more than chance"
        return said

    def _entry(self, one: Contender) -> Entry:
        reached = {}
        if self.target is not None and one.goal:
            for seed, path in one.finished.items():
                reached[seed] = until(path, one.goal, self.target)
        return Entry(
            one.name,
            " ".join(f"{key}={value}" for key, value in one.set.items()),
            [*one.tuned.values()],
            [*one.runs.values()],
            {seed: taken for seed, taken in reached.items() if taken},
        )
