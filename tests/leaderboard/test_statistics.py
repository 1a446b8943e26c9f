"""Spreads and differences against numbers worked out by hand."""

import math

import pytest

from gan_cli.leaderboard.statistics import Spread, difference, spread


def test_spread_by_hand() -> None:
    # mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; 14 / (3 - 1) = 7
    assert spread([1.0, 2.0, 6.0]) == Spread(3, 3.0, math.sqrt(7), 1.0, 6.0)


def test_what_is_no_number_is_left_out_and_the_count_says_so() -> None:
    assert spread([4.0, math.nan, 2.0, None, math.inf, "nan"]) == Spread(2, 3.0, math.sqrt(2), 2.0, 4.0)


def test_one_value_has_no_deviation_and_none_no_spread() -> None:
    assert spread([5.0]) == Spread(1, 5.0, None, 5.0, 5.0)
    assert spread([math.nan]) is None


def test_pairs_remove_what_the_seeds_have_in_common() -> None:
    """Differences are 1 and 3 though the seeds differ by 100; two pairs resample to means 1, 2, 2, 3."""
    found = difference({0: 1.0, 1: 103.0}, {0: 0.0, 1: 100.0})
    assert found is not None
    assert found.paired
    assert (found.mean, found.interval, found.n) == (2.0, (1.0, 3.0), 2)
    assert found.verdict == "too few seeds to tell"


def test_without_shared_seeds_the_means_are_resampled_apart() -> None:
    """Means 1 and 11 of two values each: the least is 0 - 12, the most 2 - 10, each 1 time in 16."""
    found = difference({0: 0.0, 1: 2.0}, {2: 10.0, 3: 12.0})
    assert found is not None
    assert not found.paired
    assert (found.mean, found.interval) == (-10.0, (-12.0, -8.0))
    assert found.verdict == "too few seeds to tell"


@pytest.mark.parametrize(("n", "verdict"), [(5, "too few seeds to tell"), (6, "higher")])
def test_six_pairs_are_the_first_that_can_tell(n: int, verdict: str) -> None:
    """All of n signs alike, one way or the other, has probability 2 / 2^n: 1/16 for 5, 1/32 for 6."""
    method = {seed: 1.0 + seed / 100 for seed in range(n)}
    found = difference(method, dict.fromkeys(range(n), 0.0))
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize(("n", "verdict"), [(3, "too few seeds to tell"), (4, "lower")])
def test_four_against_four_are_the_first_that_can_tell(n: int, verdict: str) -> None:
    """All of one method on one side has probability 2 / C(2n, n): 1/10 for 3, 1/35 for 4."""
    found = difference({seed: 0.0 + seed for seed in range(n)}, {100 + seed: 50.0 + seed for seed in range(n)})
    assert found is not None
    assert found.verdict == verdict


def test_signs_that_disagree_show_no_difference() -> None:
    method = {seed: (-1.0) ** seed for seed in range(8)}
    found = difference(method, dict.fromkeys(range(8), 0.0))
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]
    assert found.verdict == "no difference shown"


def test_one_shared_seed_is_not_a_pairing() -> None:
    found = difference({0: 1.0, 1: 3.0}, {0: 0.0, 2: 0.0})
    assert found is not None
    assert not found.paired
    assert found.mean == 2.0


def test_one_seed_each_has_a_difference_without_an_interval() -> None:
    found = difference({0: 3.0}, {0: 1.0})
    assert found is not None
    assert (found.mean, found.interval, found.n) == (2.0, None, 1)
    assert found.verdict == "too few seeds to tell"


def test_nothing_to_compare() -> None:
    assert difference({}, {0: 1.0}) is None
    assert difference({0: 1.0}, {}) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 100 intervals over 20 normal differences of mean 0, 95 should hold it; percentile ones run a little short."""
    from random import Random

    draw = Random(0)
    held = 0
    for _ in range(100):
        found = difference({seed: draw.gauss(0, 1) for seed in range(20)}, dict.fromkeys(range(20), 0.0))
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] <= 0 <= found.interval[1]
    assert 86 <= held <= 99
