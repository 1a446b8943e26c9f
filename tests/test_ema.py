"""The moving average against its closed form."""

import torch
from torch import nn

from gan_cli.ema import follow


def test_a_constant_source_is_approached_geometrically() -> None:
    average, source = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    nn.init.zeros_(average.weight)
    nn.init.ones_(source.weight)
    for _ in range(10):
        follow(average, source, 0.9)
    torch.testing.assert_close(average.weight.detach(), torch.full((2, 2), 1 - 0.9**10, dtype=torch.float64))


def test_running_statistics_follow_and_counters_are_copied() -> None:
    average, source = nn.BatchNorm1d(3).double(), nn.BatchNorm1d(3).double()
    source(torch.randn(8, 3).double() + 5)
    before = average.running_mean.clone()
    follow(average, source, 0.75)
    torch.testing.assert_close(average.running_mean, 0.75 * before + 0.25 * source.running_mean)
    assert average.num_batches_tracked == 1


def test_no_decay_is_a_copy() -> None:
    average, source = nn.Linear(2, 2), nn.Linear(2, 2)
    follow(average, source, 0.0)
    assert torch.equal(average.weight, source.weight)
