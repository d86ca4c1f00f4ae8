"""What a problem shows, in a sentence, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from experiments.results.comparison import Comparison, Entry
from experiments.results.metric import Metric
from experiments.results.profiles import until
from experiments.results.report.finding import Finding
from experiments.results.report.reading import Contender, Problem


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
    def finding(self) -> Finding | None:
        """Return what the contenders reach, as far as they can be compared."""
        if not self.figures or self.metric is None:
            return None
        is_study = self.problem.study is not None
        return Finding(self.metric.name, self.metric.mode, self.figures, pairs=is_study)

    @property
    def sentence(self) -> str:
        """Return what was found."""
        if self.finding is None:
            return "No seed was finished by all contenders: there is nothing to compare."
        return self.finding.sentence

    @property
    def caveats(self) -> list[str]:
        """Return what the sentence does not show."""
        said = []
        if self.finding and self.finding.least < inf:
            said.append(
                f"With {self.finding.seeds} seeds a difference must be {self.finding.least:.4g} to "
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
