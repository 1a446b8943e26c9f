"""Moving averages against their closed forms."""

import math
import random
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan_cli.ema import POWER_WIDTHS, WIDEST, MovingAverage, PowerAverage, combined, power_exponent, product, ramped_up


def test_a_constant_source_is_approached_geometrically() -> None:
    average, source = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    nn.init.zeros_(average.weight)
    nn.init.ones_(source.weight)
    for _ in range(10):
        MovingAverage(average, source).update(0.9)
    torch.testing.assert_close(average.weight.detach(), torch.full((2, 2), 1 - 0.9**10, dtype=torch.float64))


@pytest.mark.parametrize("steps", [1, 10, 100, 1000])
def test_an_average_that_is_ramped_up_soon_forgets_its_beginning(steps: int) -> None:
    """The beginning's weight is the product of (1 + t) / (10 + t) over t < n, which is 1 / binomial(n + 9, 9)."""
    average, source = nn.Linear(1, 1).double(), nn.Linear(1, 1).double()
    nn.init.ones_(average.weight)
    nn.init.zeros_(source.weight)
    for step in range(steps):
        MovingAverage(average, source).update(ramped_up(0.999, step))
    assert average.weight.item() == pytest.approx(1 / math.comb(steps + 9, 9), rel=1e-9)


def test_the_ramp_ends_at_the_decay() -> None:
    """(1 + t) / (10 + t) = 0.995 at t = 1790."""
    assert ramped_up(0.995, 1789) < ramped_up(0.995, 1790) == ramped_up(0.995, 10**6) == 0.995
    assert ramped_up(0.0, 0) == ramped_up(0.0, 1000) == 0.0


def test_running_statistics_follow_and_counters_are_copied() -> None:
    average, source = nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double()
    source(torch.randn(8, 3).double() + 5)
    before = average.running_mean.clone()
    MovingAverage(average, source).update(0.75)
    torch.testing.assert_close(average.running_mean, 0.75 * before + 0.25 * source.running_mean)
    assert average.num_batches_tracked == 1


def test_no_decay_is_a_copy() -> None:
    average, source = nn.Linear(2, 2), nn.Linear(2, 2)
    MovingAverage(average, source).update(0.0)
    assert torch.equal(average.weight, source.weight)


def test_singular_vectors_are_copied_and_the_weights_under_them_averaged() -> None:
    torch.manual_seed(0)
    average, source = (parametrizations.spectral_norm(nn.Linear(4, 3)).double() for _ in range(2))
    source(torch.randn(5, 4).double())  # an iteration of its vectors
    before = average.parametrizations.weight.original.detach().clone()
    MovingAverage(average, source).update(0.9)
    ours, theirs = (module.parametrizations.weight for module in (average, source))
    torch.testing.assert_close(ours.original.detach(), 0.9 * before + 0.1 * theirs.original.detach())
    for vector in ("_u", "_v"):
        assert torch.equal(getattr(ours[0], vector), getattr(theirs[0], vector))
        assert getattr(ours[0], vector).norm().item() == pytest.approx(1.0)


def test_all_parts_of_a_network_are_treated_by_their_own_kind() -> None:
    """Spectral norm beside batch norm: the latter's statistics are buffers, too, but have a mean."""
    torch.manual_seed(0)

    def network() -> Any:
        return nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.BatchNorm1d(3)).double()

    average, source = network(), network()
    source(torch.randn(5, 4).double())
    before = average[1].running_var.clone()
    MovingAverage(average, source).update(0.5)
    torch.testing.assert_close(average[1].running_var, (before + source[1].running_var) / 2)
    assert average[1].num_batches_tracked == 1
    assert torch.equal(average[0].parametrizations.weight[0]._u, source[0].parametrizations.weight[0]._u)


@pytest.mark.parametrize(("width", "exponent"), [(0.01, 97.0), (0.05, 16.97), (0.1, 6.94)])
def test_exponents_are_those_of_the_paper(width: float, exponent: float) -> None:
    assert power_exponent(width) == pytest.approx(exponent, abs=0.006)


@pytest.mark.parametrize("width", [0.02, 0.05, 0.17, 0.28])
def test_a_profile_is_as_wide_as_it_says(width: float) -> None:
    """The weight of step t is proportional to t^e; its standard deviation over [0, 1] is the width."""
    exponent = power_exponent(width)
    moments = [(exponent + 1) / (exponent + 1 + power) for power in range(3)]
    assert math.sqrt(moments[2] - moments[1] ** 2) == pytest.approx(width, rel=1e-9)


def test_the_widest_profile_is_the_uniform_one() -> None:
    assert power_exponent(WIDEST * (1 - 1e-9)) == pytest.approx(0.0, abs=1e-6)
    for width in (0.0, -0.1, WIDEST, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"must be above 0 and below 0\.289"):
            power_exponent(width)


def followed(width: float, path: list[float]) -> list[float]:
    """The average of a weight along the path, after each step."""
    average, source = nn.Linear(1, 1).double(), nn.Linear(1, 1).double()
    power = PowerAverage(average, source, width)
    found = []
    for step, value in enumerate(path, 1):
        nn.init.constant_(source.weight, value)
        power.update(step)
        found.append(average.weight.item())
    return found


def test_an_average_almost_uniform_is_the_mean_and_forgets_its_beginning() -> None:
    path = [random.Random(0).gauss(0, 1) for _ in range(50)]
    assert followed(WIDEST * (1 - 1e-12), path)[-1] == pytest.approx(sum(path) / 50, abs=1e-9)


def test_an_average_of_a_line_ends_where_its_profile_has_its_mean() -> None:
    """The mean of t / T under weights t^e is (e + 1) / (e + 2), up to terms of 1 / T."""
    path = [step / 2000 for step in range(1, 2001)]
    exponent = power_exponent(0.1)
    assert followed(0.1, path)[-1] == pytest.approx((exponent + 1) / (exponent + 2), abs=5e-4)


@pytest.mark.parametrize(
    ("one", "other"), [((17.0, 300), (7.0, 500)), ((7.0, 500), (17.0, 300)), ((2.0, 10), (2.0, 10))]
)
def test_the_inner_product_is_an_integral(one: tuple[float, int], other: tuple[float, int]) -> None:
    def profile(exponent: float, until: int, time: float) -> float:
        return (exponent + 1) * time**exponent / until ** (exponent + 1) if time <= until else 0.0

    length = min(one[1], other[1]) / 20_000
    times = [(number + 0.5) * length for number in range(20_000)]
    expected = sum(profile(*one, time) * profile(*other, time) * length for time in times)
    assert product(one, other) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("width", [0.06, 0.07, 0.12, 0.15])
def test_an_average_from_snapshots_is_the_direct_one(width: float) -> None:
    """To a millionth of the path's length for 40 snapshots; to rounding for a width that is kept."""
    path = [math.sqrt(step / 1000) for step in range(1, 1001)]
    kept = {each: followed(each, path) for each in POWER_WIDTHS}
    profiles = [(power_exponent(each), step) for each in kept for step in range(25, 1001, 25)]
    values = [kept[each][step - 1] for each in kept for step in range(25, 1001, 25)]
    coefficients, apart = combined(profiles, (power_exponent(width), 1000))
    rebuilt = sum(weight * value for weight, value in zip(coefficients, values, strict=True))
    assert rebuilt == pytest.approx(followed(width, path)[-1], abs=1e-6 if width < 0.15 else 1e-5)
    assert 0 < apart < 2e-3
    for own in POWER_WIDTHS:
        coefficients, apart = combined(profiles, (power_exponent(own), 1000))
        rebuilt = sum(weight * value for weight, value in zip(coefficients, values, strict=True))
        assert rebuilt == pytest.approx(kept[own][-1], abs=1e-12)
        assert apart < 1e-6


def test_few_snapshots_are_far_from_a_narrow_profile() -> None:
    profiles = [(power_exponent(each), 1000) for each in POWER_WIDTHS]
    assert combined(profiles, (power_exponent(0.02), 1000))[1] > 0.3
