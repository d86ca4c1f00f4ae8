"""What a problem shows: its contenders judged over the seeds that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from experiments.results.comparison import Comparison, Entry
from experiments.results.leaderboard import remarks
from experiments.results.metric import Metric
from experiments.results.profiles import until
from experiments.results.report.finding import Finding
from experiments.results.report.frames import history
from experiments.results.report.reading import Contender, Problem


@dataclass(frozen=True)
class Verdict:
    """A problem judged: its contenders, the leader first, and what it has beyond each other.

    Those of a comparison are ranked by `test`, where there is such a part, since their settings
    were chosen on `valid`, and told apart over the seeds that all have finished; those of a sweep
    are ranked by `valid`, and told apart over the seeds by which most runs can be compared.
    """

    problem: Problem

    @cached_property
    def ranked(self) -> list[Contender]:
        """Return the contenders, the leader first, those that are not compared behind."""
        order = [*self.figures]
        places = {name: place for place, name in enumerate(order)}
        return sorted(self.problem.ranked, key=lambda one: places.get(one.name, len(order)))

    @cached_property
    def comparison(self) -> Comparison:
        """Return the contenders over the seeds that they share."""
        held = [one for one in self.problem.ranked if one.finished]
        if self.problem.study is None:
            seeds = _shared([frozenset(one.finished) for one in held])
            held = [one for one in held if one.finished.keys() >= seeds]
        return Comparison([self._entry(one) for one in held], self.problem.target)

    @cached_property
    def metric(self) -> Metric | None:
        """Return what is judged."""
        return self.comparison.metric if self.comparison.seeds else None

    @cached_property
    def figures(self) -> Mapping[str, Sequence[float]]:
        """Return the figure of each contender for each shared seed, the leader first."""
        held = self.comparison.figures if self.comparison.seeds else {}
        if self.problem.study is not None:
            return held
        return {one.name: held[one.name] for one in self.problem.ranked if one.name in held}

    @cached_property
    def finding(self) -> Finding | None:
        """Return what the contenders reach, as far as they can be compared."""
        if not self.figures or self.metric is None:
            return None
        return Finding(self.metric.name, self.metric.mode, self.figures)

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
        if self.problem.study is None:
            runs = [run for one in self.problem.contenders for run in one.runs.values()]
            said += remarks(runs)
        if repeats := self.problem.repeats:
            are = "1 run is" if repeats == 1 else f"{repeats} runs are"
            said.append(f"{are} left out, since others have the same settings and seed.")
        return said

    def _entry(self, one: Contender) -> Entry:
        """Return a contender with its finished runs, and those until the target."""
        reached, target = {}, self.problem.target
        if target is not None and one.goal:
            for seed, path in one.finished.items():
                reached[seed] = until(history(path), one.goal, target)
        return Entry(
            one.name,
            " ".join(f"{key}={value}" for key, value in one.set.items()),
            [*one.tuned.values()],
            [one.runs[path] for path in one.finished.values()],
            {seed: taken for seed, taken in reached.items() if taken},
        )


def _shared(seeds: Sequence[frozenset[int]]) -> frozenset[int]:
    """Return the seeds of some contender that most runs can be compared by, of most contenders."""
    counts = {own: sum(other >= own for other in seeds) for own in seeds}
    return max(counts, key=lambda own: (counts[own] * len(own), counts[own]), default=frozenset())
