"""The moving average against its closed form."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan_cli.ema import MovingAverage, ramped_up


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
