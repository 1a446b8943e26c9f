"""Randomness and data order are functions of their arguments alone."""

import subprocess
import sys
from itertools import combinations

import torch

from gan_cli.seeding import batch_rows, mix, seed_step


def test_mix_is_the_same_in_every_process() -> None:
    code = "from gan_cli.seeding import mix; print(mix('step', 3, 0, 7))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == mix("step", 3, 0, 7)
    assert len({mix("step", 3, 0, 7), mix("step", 3, 7, 0), mix("step", 37, 0), mix("epoch", 3, 0, 7)}) == 4


def test_a_step_forgets_what_came_before() -> None:
    draws = []
    for noise in (1, 5):
        torch.rand(noise)
        seed_step(0, 0, 12, [torch.default_generator])
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
    seed_step(0, 1, 12, [torch.default_generator])
    assert not torch.equal(draws[0], torch.rand(3))


def test_every_epoch_is_a_permutation_without_its_incomplete_tail() -> None:
    epochs = [torch.cat([batch_rows(10, 3, seed=1, batch=3 * epoch + i) for i in range(3)]) for epoch in range(2)]
    for rows in epochs:
        assert len(rows) == 9 == len(set(rows.tolist()))
    assert not torch.equal(*epochs)
    assert torch.equal(batch_rows(10, 3, seed=1, batch=4), epochs[1][3:6])


def test_noise_differs_by_seed_rank_and_step() -> None:
    draws = []
    for arguments in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        seed_step(*arguments, [torch.default_generator])
        draws.append(torch.rand(3))
    assert not any(torch.equal(one, other) for one, other in combinations(draws, 2))


def test_data_order_differs_by_seed_and_a_batch_that_fits_is_whole() -> None:
    assert not torch.equal(batch_rows(100, 50, 0, 0), batch_rows(100, 50, 1, 0))
    assert sorted(torch.cat([batch_rows(9, 3, 1, batch) for batch in range(3)]).tolist()) == list(range(9))
