"""A figure of several contenders over the seeds that they share, and what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean

from experiments.results.metric import Mode
from experiments.results.statistics import Difference, detectable, differences, interval


@dataclass(frozen=True)
class Finding:
    """What `of` is for each contender and shared seed, the leader first; all pairs are tested."""

    of: str
    mode: Mode
    figures: Mapping[str, Sequence[float]]

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return len(next(iter(self.figures.values()), ()))

    @cached_property
    def beyond(self) -> dict[str, Difference]:
        """Return what the leader has beyond each other, corrected for all pairs."""
        if self.seeds < 2:
            return {}
        return {one.other: one for one in differences(self.figures, next(iter(self.figures)))}

    @cached_property
    def least(self) -> float:
        """Return the least difference that so many seeds show in 80 % of studies."""
        return detectable(self.figures)

    @property
    def sentence(self) -> str:
        """Return who leads, by how much, and how sure that is."""
        leader, *others = self.figures
        held = self.figures[leader]
        less = ", of which less is better," if self.mode == "min" else ""
        said = f"{leader} reaches {self.of}{less} {mean(held):.4g}"
        if self.seeds > 1:
            said += " (95 % interval {:.4g} to {:.4g})".format(*interval(held))
        said += f" over {self.seeds} seed{'s' if self.seeds > 1 else ''}"
        if not others:
            return f"{said}; there is no other to compare it with."
        if self.seeds < 2:
            rest = f", the best of {len(self.figures)}" if self._leads else ""
            return f"{said}{rest}: whether that is more than chance, one seed does not show."
        return f"{said}: {self._over(others)}."

    @property
    def _leads(self) -> bool:
        held = [mean(values) for values in self.figures.values()]
        return held[0] == (max if self.mode == "max" else min)(held)

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
