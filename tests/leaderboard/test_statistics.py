"""Spreads, differences and ranks against numbers worked out by hand, and against simulated laws."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind

from benchmarks.coverage import covered, equivalence, false_alarm, shown
from gan_cli.leaderboard.statistics import (
    LEVEL,
    Difference,
    Estimate,
    Scores,
    Spread,
    apart,
    difference,
    differences,
    fewest_seeds,
    groups,
    holm,
    p_value,
    permutation_p,
    split,
    spread,
)


def scores(values: Iterable[float]) -> Scores:
    return {seed: float(value) for seed, value in enumerate(values)}


def found(
    method: Sequence[float], baseline: Sequence[float], margin: float | None = None, paired: bool = False
) -> Difference:
    one = difference(scores(method), scores(baseline), margin=margin, paired=paired)
    assert one is not None
    return one


def test_spread_by_hand() -> None:
    # mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; 14 / (3 - 1) = 7
    assert spread([1.0, 2.0, 6.0]) == Spread(3, 3.0, math.sqrt(7), 1.0, 6.0)


def test_what_is_no_number_is_left_out_and_the_count_says_so() -> None:
    assert spread([4.0, math.nan, 2.0, None, math.inf, "nan"]) == Spread(2, 3.0, math.sqrt(2), 2.0, 4.0)


def test_one_value_has_no_deviation_and_none_no_spread() -> None:
    assert spread([5.0]) == Spread(1, 5.0, None, 5.0, 5.0)
    assert spread([math.nan]) is None


def test_variances_of_sampling_and_of_training_by_hand() -> None:
    """Within runs 1/2 and 9/2, mean 5/2; the means 1/2 and 7/2 have variance 9/2; 9/2 - 5/4 = 13/4."""
    assert split([[0.0, 1.0], [2.0, 5.0]]) == (2.5, 3.25)
    assert split([[0.0, 2.0], [2.0, 0.0]]) == (2.0, -1.0)
    assert split([[0.0, 1.0]]) == (0.5, None)
    assert split([[0.0], [1.0]]) is None
    assert split([]) is None


def test_the_split_of_variances_is_unbiased() -> None:
    """Sampling SD 2 and training SD 3, of 3 evaluations of 4 runs: variances 4 and 9, in the mean of 1,000 splits."""
    rng = np.random.default_rng(0)
    found = np.array(
        [split((3 * rng.standard_normal((4, 1)) + 2 * rng.standard_normal((4, 3))).tolist()) for _ in range(1000)]
    )
    errors = found.std(0) / math.sqrt(len(found))
    assert np.all(np.abs(found.mean(0) - [4.0, 9.0]) < 4 * errors)
    assert np.all(errors < [0.1, 0.4])


def test_the_interval_is_student_s() -> None:
    """Variances 2 and 2 of two values each: standard error sqrt(2), 2 degrees of freedom, t 4.30265."""
    one = found([0.0, 2.0], [10.0, 12.0])
    assert (one.mean, one.n, one.paired) == (-10.0, 2, False)
    half = 4.30265 * math.sqrt(2)
    assert one.interval == pytest.approx((-10 - half, -10 + half), rel=1e-5)


def test_degrees_of_freedom_are_welch_s() -> None:
    """Variances 4 / 2 and 1 / 3 of the means: (7/3)^2 / (2^2 / 1 + (1/3)^2 / 2) = 1.3425."""
    estimate = Estimate(0.0, (4.0, 1.0), (2, 3))
    assert estimate.freedom() == pytest.approx((7 / 3) ** 2 / (4 + 1 / 18))
    assert estimate.error() == pytest.approx(math.sqrt(7 / 3))


def test_pairs_remove_what_the_seeds_have_in_common() -> None:
    """Differences are 1 and 3 though the seeds differ by 100: standard error 1, 1 degree of freedom, t 12.7062."""
    one = found([1.0, 103.0], [0.0, 100.0], paired=True)
    assert (one.mean, one.n, one.paired) == (2.0, 2, True)
    assert one.interval == pytest.approx((2 - 12.7062, 2 + 12.7062), rel=1e-5)


def test_only_seeds_that_both_have_are_pairs() -> None:
    one = difference({0: 1.0, 1: 3.0, 5: 100.0}, {1: 0.0, 0: 0.0, 2: 50.0}, paired=True)
    assert one is not None
    assert (one.mean, one.n) == (2.0, 2)
    assert difference({0: 1.0}, {1: 0.0}, paired=True) is None


def test_one_seed_each_has_a_difference_and_nothing_else() -> None:
    one = found([3.0], [1.0], margin=5.0)
    assert (one.mean, one.interval, one.n, one.verdict) == (2.0, None, 1, "cannot tell")
    assert (one.p, one.p_equivalent, one.detectable, one.seeds) == (None, None, None, None)


def test_nothing_to_compare() -> None:
    assert difference({}, {0: 1.0}) is None
    assert difference({0: 1.0}, {}) is None


@pytest.mark.parametrize("sizes", [(4, 4), (3, 6), (6, 5)])
def test_relabelling_agrees_with_scipy(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(sizes))
    a, b = rng.normal(0.5, 2.0, sizes[0]), rng.normal(0.0, 1.0, sizes[1])
    theirs = permutation_test(
        (a, b),
        lambda x, y, axis: np.abs(ttest_ind(x, y, axis=axis, equal_var=False).statistic),
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert permutation_p(a, b) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_clearest_outcomes_by_hand() -> None:
    """All of one side above: 2 of C(8, 4) = 70; all signs alike: 2 of 2^6 = 64; nothing but ties: all."""
    low, high = np.arange(4.0), 50 + np.arange(4.0)
    assert p_value(low, high) == pytest.approx(2 / 70)
    assert p_value(np.zeros(4), np.ones(4)) == pytest.approx(2 / 70)
    assert p_value(np.ones(4), np.ones(4)) == 1.0
    assert p_value(np.arange(6.0) + 1, np.zeros(6), paired=True) == pytest.approx(2 / 64)
    assert p_value(np.ones(6), np.ones(6), paired=True) == 1.0


def test_of_very_many_relabellings_some_are_drawn_and_none_is_p_zero() -> None:
    rng = np.random.default_rng(0)
    assert 1 / 20_000 <= p_value(rng.normal(9, 1, 12), rng.normal(0, 1, 12)) <= 3 / 20_000
    a, b = np.linspace(-1.5, 1.5, 12) + 0.7, np.linspace(-1.5, 1.5, 12)
    expected = float(ttest_ind(a, b).pvalue)
    assert 0.05 < expected < 0.1
    assert permutation_p(a, b) == pytest.approx(expected, rel=0.1)


def test_the_larger_of_two_p_values_counts() -> None:
    """With very different SDs Welch's t test is the stricter one, of four clear seeds the permutation test."""
    narrow, wide = np.linspace(-0.1, 0.1, 8), np.arange(8.0) + 1
    by_t = float(ttest_ind(narrow, wide, equal_var=False).pvalue)
    assert permutation_p(narrow, wide) == pytest.approx(2 / 12870)
    assert p_value(narrow, wide) == pytest.approx(by_t)
    assert by_t > 0.001
    near, far = np.array([0.0, 0.1, 0.2, 0.3]), np.array([1.0, 1.1, 1.2, 1.3])
    assert p_value(near, far) == permutation_p(near, far) > float(ttest_ind(near, far).pvalue)


@pytest.mark.parametrize(
    ("n", "methods", "verdict"),
    [(3, 1, "cannot tell"), (4, 1, "lower"), (5, 6, "lower"), (5, 7, "cannot tell"), (6, 10, "lower")],
)
def test_how_many_seeds_can_tell(n: int, methods: int, verdict: str) -> None:
    """2 / C(2n, n) times the number of methods: 1/10, 1/35, 6/126, 7/126, 10/462."""
    baseline = {100 + seed: 50.0 + seed for seed in range(n)}
    told = differences({str(one): scores(range(n)) for one in range(methods)}, baseline)
    assert {one.verdict for one in told.values()} == {verdict}
    fewest = fewest_seeds(methods, paired=False)
    assert fewest is not None
    assert (fewest <= n) is (verdict == "lower")
    assert (told["0"].detectable is not None) is (verdict == "lower")


def test_holm_by_hand() -> None:
    """4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which may not be below the one before it."""
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_difference_alone_is_lost_among_many_comparisons() -> None:
    """2 / C(12, 6) = 1/462 stands alone and among 23 comparisons, not among 24."""
    clear, dull, baseline = (
        scores(range(6)),
        scores(50.5 + seed for seed in range(6)),
        scores(50.0 + seed for seed in range(6)),
    )
    for others, verdict in ((22, "lower"), (23, "cannot tell")):
        told = differences({"clear": clear} | {str(one): dull for one in range(others)}, baseline)
        assert told["clear"].verdict == verdict
        assert {told[str(one)].verdict for one in range(others)} == {"cannot tell"}


@pytest.mark.parametrize(("n", "expected"), [(3, 3.07), (4, 2.38), (5, 2.02), (7, 1.63), (10, 1.33), (16, 1.02)])
def test_the_detectable_difference_in_units_of_the_deviation(n: int, expected: float) -> None:
    """Two samples of n, level 5 %, power 0.8: as tables of the noncentral t distribution say."""
    assert Estimate(0.0, (1.0, 1.0), (n, n)).detectable(LEVEL) == pytest.approx(expected, abs=0.006)
    assert Estimate(0.0, (9.0, 9.0), (2, 2)).detectable(LEVEL, n) == pytest.approx(3 * expected, abs=0.018)


def test_the_seeds_that_are_needed_are_the_fewest() -> None:
    """For the difference, whose detectable size passes it between them; and for the margin, likewise."""
    one = found([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    estimate = Estimate(-1.0, (5 / 3, 5 / 3), (4, 4))
    assert one.verdict == "cannot tell"
    assert one.seeds is not None
    assert estimate.detectable(LEVEL, one.seeds) <= 1.0 < estimate.detectable(LEVEL, one.seeds - 1)
    near = found([0.0, 1.0, 2.0, 3.0], [0.1, 1.1, 2.1, 3.1], margin=1.0)
    estimate = Estimate(-0.1, (5 / 3, 5 / 3), (4, 4))
    assert near.verdict == "cannot tell"
    assert near.seeds is not None
    assert estimate.power_within(1.0, LEVEL, near.seeds) >= 0.8 > estimate.power_within(1.0, LEVEL, near.seeds - 1)
    assert found([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]).seeds is None


def test_equivalence_needs_a_margin_that_the_seeds_can_fill() -> None:
    """Standard error 0.3535 and 14 degrees of freedom: t 1.7613 x 0.3535 = 0.6228 inside the margin."""
    values = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    error = math.sqrt(2 * np.var(values, ddof=1) / 8)
    assert found(values, values, margin=1.7614 * error).verdict == "equivalent"
    assert found(values, values, margin=1.7612 * error).verdict == "cannot tell"
    shifted = [value + 0.2 for value in values]
    assert found(shifted, values, margin=0.2 + 1.7614 * error).verdict == "equivalent"
    assert found(shifted, values, margin=0.2 + 1.7612 * error).verdict == "cannot tell"
    assert found(shifted, values).verdict == "cannot tell"
    assert found([value + 9 for value in values], values, margin=20.0).verdict == "higher"


def test_scores_without_a_spread_are_equivalent_from_some_seeds_on() -> None:
    """Two seeds may have the same score by chance: it takes as many as a difference would."""
    assert [found([8.0] * n, [8.0] * n, margin=0.5).verdict for n in (2, 3, 4)] == [
        "cannot tell",
        "cannot tell",
        "equivalent",
    ]
    assert found([8.0] * 3, [8.0] * 3, margin=0.5).seeds == 4


def test_a_lost_run_is_the_worst() -> None:
    """Five scores below five others are lower; with five lost runs beside them they are not, and only lost is worse."""
    low, high = list(np.arange(5.0)), list(10 + np.arange(5.0))
    assert found(low, high).verdict == "lower"
    mixed = found([*low, *[math.inf] * 5], high, margin=100.0)
    assert (mixed.verdict, mixed.mean, mixed.p_equivalent) == ("cannot tell", -10.0, None)
    assert found([11.0, *[math.inf] * 7], high).verdict == "higher"
    assert found([-11.0, *[-math.inf] * 7], low).verdict == "lower"
    assert difference(scores([math.inf] * 5), scores(low)) is None
    assert apart({"lost": scores([math.inf] * 5), "low": scores(low)}) == {("low", "lost")}


def test_groups_hold_what_cannot_be_told_apart() -> None:
    assert groups("abc", []) == [["a", "b", "c"]]
    assert groups("abc", [("a", "c")]) == [["a", "b"], ["b", "c"]]
    assert groups("abcd", [("a", "c"), ("a", "d"), ("b", "d")]) == [["a", "b"], ["b", "c"], ["c", "d"]]
    assert groups("abc", [("a", "b"), ("a", "c"), ("b", "c")]) == [["a"], ["b"], ["c"]]
    assert groups("abcd", [("a", "b"), ("c", "d")]) == [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]]


def test_all_pairs_are_corrected_together() -> None:
    """Three pairs: 3 x 2 / C(8, 4) is too much with four seeds, 3 x 2 / C(10, 5) is not with five."""
    for n, told in ((4, set()), (5, {("low", "one"), ("low", "other")})):
        base = [float(seed) for seed in range(n)]
        methods = {"one": scores(base), "other": scores([b + 0.1 for b in base]), "low": scores([b - 99 for b in base])}
        assert apart(methods) == told


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "lognormal, normal", "t3", "normal, SD 4 and 1"])
def test_the_interval_covers_the_truth_as_often_as_it_says(law: str) -> None:
    """Standard error of a share of 95 % in 2,000: 0.5 points; the bootstrap's percentile interval does not pass."""
    assert all(0.925 <= covered(law, n, paired, "t", 2000) <= 0.985 for n in (3, 8) for paired in (False, True))
    assert covered(law, 3, False, "percentile", 200) < 0.88


@pytest.mark.slow
def test_errors_are_as_rare_as_they_are_said_to_be() -> None:
    """One comparison, ten with Holm, and equivalence at the margin itself: 5 %, less where p has few values."""
    assert 0.035 <= shown("both", "normal", 8, 2000, correlated=False) <= 0.065
    assert 0.01 <= false_alarm("both", 8, 500) <= 0.08
    assert false_alarm("sign flips of pairs", 8, 20) == 0.0  # ten times 2 / 2^8 is above 5 %
    assert 0.035 <= equivalence(8, 2000, 2.0, 2.0) <= 0.065
    assert equivalence(8, 500, 0.0, 2.0) > 0.9


@pytest.mark.slow
def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    by = Estimate(0.0, (1.0, 1.0), (8, 8)).detectable(LEVEL)
    assert 0.76 <= shown("both", "normal", 8, 2000, by, correlated=False) <= 0.84
