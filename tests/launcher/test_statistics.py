"""The statistics of comparisons, by simulated studies with known truth."""

from collections.abc import Mapping
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.results.across import as_text_across
from experiments.results.comparison import Comparison, Entry
from experiments.results.metric import Metric
from experiments.results.profiles import profile, ratios, score
from experiments.results.statistics import detectable, differences, holm, interval
from experiments.results.summary import Summary

STUDIES = 400
SEEDS = (3, 5, 10)


def study(draw: np.random.Generator, seeds: int, **moved: float) -> dict[str, list[float]]:
    """Figures of contenders that share what a seed does, beside noise of their own."""
    shared = draw.normal(0.9, 0.02, seeds)
    return {
        name: (shared + draw.normal(0.0, 0.01, seeds) + better).tolist()
        for name, better in moved.items()
    }


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_same_under_two_names_is_no_difference(seeds: int):
    draw = np.random.default_rng(seeds)
    seen = sum(
        any(one.is_seen for one in differences(study(draw, seeds, a=0.0, b=0.0, c=0.0, d=0.0)))
        for _ in range(STUDIES)
    )
    assert seen <= 0.05 * STUDIES + 2 * (0.05 * 0.95 * STUDIES) ** 0.5


def test_equal_figures_are_no_difference():
    (one,) = differences({"a": [0.5, 0.6], "b": [0.5, 0.6]})
    assert (one.p, one.mean, one.is_seen) == (1.0, 0.0, False)


def test_the_same_difference_for_each_seed_may_be_chance():
    assert not differences({"a": [0.75, 0.75], "b": [0.5, 0.5]})[0].is_seen
    assert differences({"a": [0.75] * 6, "b": [0.5] * 6})[0].p == pytest.approx(2**-5)


@pytest.mark.parametrize("seeds", SEEDS)
def test_twice_what_can_be_detected_is_found(seeds: int):
    """A truth that is planned by what one study says can be detected."""
    draw = np.random.default_rng(seeds)
    found = 0
    for _ in range(STUDIES):
        least = detectable(study(draw, seeds, a=0.0, b=0.0, c=0.0))
        pairs = differences(study(draw, seeds, a=2 * least, b=0.0, c=0.0))
        found += all(one.is_seen for one in pairs if one.one == "a")
    assert found >= 0.8 * STUDIES


@pytest.mark.parametrize("seeds", SEEDS)
def test_what_can_be_detected_is_seen_in_four_of_five(seeds: int):
    draw = np.random.default_rng(seeds)
    least = detectable({"a": [0.0] * seeds, "b": spread(seeds)})
    seen = 0
    for _ in range(STUDIES):
        apart = draw.normal(least, 1.0, seeds)
        (one,) = differences({"a": apart.tolist(), "b": [0.0] * seeds})
        seen += one.is_seen
    assert seen / STUDIES == pytest.approx(0.8, abs=0.06)


def spread(count: int) -> list[float]:
    """Figures whose standard deviation is 1."""
    held = np.arange(count, dtype=float)
    return (held / held.std(ddof=1)).tolist()


def test_detectable_is_that_of_the_noncentral_t():
    seeds = 6
    least = detectable({"a": [0.0] * seeds, "b": spread(seeds)})
    critical, moved = stats.t.ppf(0.975, seeds - 1), least * seeds**0.5
    power = stats.nct.sf(critical, seeds - 1, moved) + stats.nct.cdf(-critical, seeds - 1, moved)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_one_seed_shows_nothing():
    alone = {"a": [0.9], "b": [0.1]}
    assert detectable(alone) == inf
    assert not differences(alone)[0].is_seen
    assert interval([0.9]) == (-inf, inf)


@pytest.mark.parametrize(("seeds", "share"), [(4, 0.83), (5, 0.88), (10, 0.91), (20, 0.92)])
def test_the_interval_holds_the_mean(seeds: int, share: float):
    draw = np.random.default_rng(seeds)
    held = 0
    for _ in range(STUDIES):
        low, high = interval(draw.normal(0.0, 1.0, seeds).tolist(), draws=2000)
        held += low <= 0.0 <= high
    assert held / STUDIES >= share


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_that_of_the_definition(p: list[float]):
    corrected, m = holm(p), len(p)
    order = sorted(range(m), key=p.__getitem__)
    for rank, i in enumerate(order):
        rule = max(min(1.0, (m - k) * p[j]) for k, j in enumerate(order[: rank + 1]))
        assert corrected[i] == rule
    assert all(new >= old for new, old in zip(corrected, p, strict=True))


@given(st.lists(st.floats(1, 9) | st.just(inf), min_size=1, max_size=6))
def test_the_score_is_the_area_below_the_profile(held: list[float]):
    factors = np.linspace(1.0, 4.0, 3001)
    area = np.trapezoid(profile(held, factors.tolist()), factors) / 3.0
    assert score(held) == pytest.approx(area, abs=1e-3)


def test_a_problem_that_nobody_solved():
    assert ratios({"a": [0.0, 0.0], "b": [0.0, 3.0]}) == {"a": [1.0, 1.0], "b": [1.0, inf]}
    assert ratios({"a": [inf, 2.0], "b": [inf, 4.0]}) == {"a": [inf, 1.0], "b": [inf, 2.0]}


def entry(
    name: str, figures: dict[int, float], to_target: Mapping[int, tuple[float, float]]
) -> Entry:
    goal = Metric("valid_accuracy", "max")
    runs = [
        Summary("finished", seed, goal=goal, final={"valid_accuracy": 0.0, "test_accuracy": value})
        for seed, value in figures.items()
    ]
    return Entry(name, "", [], runs, to_target)


class TestAcross:
    """Several problems together."""

    def rows(self, *problems: list[Entry]) -> dict[str, list[str]]:
        lines = as_text_across([Comparison(one, target=0.5) for one in problems]).splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
        return {name: figures for name, *figures in cells}

    def test_ranks_and_profiles(self):
        fast, slow = {1: (10, 5.0), 2: (10, 5.0)}, {1: (25, 5.0), 2: (25, 5.0)}
        one = [entry("a", {1: 0.9, 2: 0.8}, fast), entry("b", {1: 0.7, 2: 0.9}, slow)]
        other = [entry("a", {1: 0.5, 2: 0.5}, slow), entry("b", {1: 0.6, 2: 0.6}, fast)]
        same = [entry("a", {1: 0.4, 2: 0.6}, fast), entry("b", {1: 0.6, 2: 0.4}, fast)]
        assert self.rows(one, one, other) == {
            "a": ["1.33", "0.83", "1.00"],
            "b": ["1.67", "0.67", "1.00"],
        }
        assert self.rows(same) == {"a": ["1.50", "1.00", "1.00"], "b": ["1.50", "1.00", "1.00"]}

    def test_what_is_not_there(self):
        """A contender without a run, a problem without a common seed, half of the seeds."""
        come = {1: (10, 5.0)}
        one = [entry("a", {}, {}), entry("b", {1: 0.7, 2: 0.9}, come | {2: (20, 5.0)})]
        apart = [entry("a", {1: 0.5}, come), entry("b", {2: 0.6}, {2: (10, 5.0)})]
        half = [entry("a", {1: 0.5, 2: 0.5}, come), entry("b", {1: 0.6, 2: 0.6}, come)]
        assert self.rows(one, apart, half) == {
            "b": ["1.17", "0.33", "0.33"],
            "a": ["1.83", "0.00", "0.00"],
        }


def test_small_figures_are_told_apart_as_large_ones_are():
    figures = {"a": [0.1, 0.3, 0.2], "b": [0.005, 0.004, 0.006]}
    small = {name: [1e-12 * value for value in held] for name, held in figures.items()}
    assert differences(small)[0].p == pytest.approx(differences(figures)[0].p)
