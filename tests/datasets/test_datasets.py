"""Embedded and toy data: ranges, shapes and where the points lie."""

import pytest
import torch
from sklearn.datasets import load_digits

from gan_cli.data import decode, encode
from gan_cli.datasets import Digits, Grid, Ring
from gan_cli.metrics.mode_metrics import ModeMetrics

from ..conftest import EVERY_LABEL

METRICS = ModeMetrics(max_deviations=3.0)  # no data set looks at its metrics while it loads


def test_bytes_survive_decoding_and_encoding() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = decode(values)
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(encode(images, torch.uint8), values)
    assert encode(torch.tensor([-7.0, 7.0]).reshape(1, 1, 1, 2), torch.uint8).flatten().tolist() == [0, 255]


def test_digits_are_the_embedded_images() -> None:
    table = Digits(image_size=8, metrics=METRICS, **EVERY_LABEL).load()
    original = torch.tensor(load_digits().images)
    assert table.values.shape == (1797, 1, 8, 8)
    torch.testing.assert_close(table.values[:, 0].double() / 255 * 16, original, atol=16 / 255 / 2, rtol=0)
    assert table.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    larger = Digits(image_size=16, metrics=METRICS, **EVERY_LABEL).load()
    assert larger.image_shape == (1, 16, 16)
    assert larger.values.float().mean().item() == pytest.approx(table.values.float().mean().item(), rel=0.02)


def test_ring_and_grid_are_where_the_papers_put_them() -> None:
    ring = Ring(num_modes=8, radius=2.0, std=0.001, points_per_mode=12500, metrics=METRICS)
    torch.testing.assert_close(ring.centers().norm(dim=1), torch.full((8,), 2.0))
    torch.testing.assert_close(ring.centers()[1], torch.tensor([2**0.5, 2**0.5]))
    grid = Grid(side=5, spacing=2.0, std=0.0025, points_per_mode=4000, metrics=METRICS)
    assert sorted(map(tuple, grid.centers().tolist())) == [
        (2.0 * i, 2.0 * j) for i in range(-2, 3) for j in range(-2, 3)
    ]
    three = Grid(side=3, spacing=2.0, std=0.05**0.5, points_per_mode=2000, metrics=METRICS)
    table = three.load()
    assert table.values.shape == (18000, 2, 1, 1)
    offsets = table.values.flatten(1) - three.centers()[table.labels]
    assert offsets.var().item() == pytest.approx(0.05, rel=0.03)
    assert torch.equal(three.load().values, table.values)
