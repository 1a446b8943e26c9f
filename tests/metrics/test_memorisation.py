"""Density and coverage have their closed forms; planted copies are found by authenticity and by C_T."""

from dataclasses import replace
from math import prod

import pytest
import torch
from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.metrics import neighbours
from gan_cli.metrics.authenticity import authenticity
from gan_cli.metrics.copying import copying, z_value
from gan_cli.metrics.density_coverage import density_coverage
from gan_cli.metrics.frechet import frechet_distance
from gan_cli.metrics.metrics import Sample
from gan_cli.metrics.nearest_images import nearest_images
from gan_cli.metrics.neighbours import distance_blocks, nearest
from gan_cli.shapes import unlabelled

from ..values import subject
from .test_feature_metrics import DIGITS, images, table


def sample(features: Tensor, held_out: Tensor | None = None) -> Sample:
    pixels = torch.arange(len(features)).remainder(256).to(torch.uint8).reshape(-1, 1, 1, 1)
    beside = None if held_out is None else sample(held_out)
    return Sample(pixels, features, features, unlabelled(len(features)), held_out=beside)


def normal(count: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_distances_are_those_of_cdist_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    points, others = normal(37, 0) + 100, normal(29, 1) + 100
    expected = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    for most in (1, 100, 2**24):
        monkeypatch.setattr(neighbours, "MOST_DISTANCES", most)
        blocks = list(distance_blocks(points, others))
        assert max(map(torch.numel, blocks)) <= max(most, len(others))
        assert torch.allclose(torch.cat(blocks), expected, rtol=1e-9)
    values, rows = nearest(points, others, 3)
    assert torch.allclose(values, expected.sort().values[:, :3], rtol=1e-9)
    assert torch.equal(rows, expected.argsort()[:, :3])


def test_density_is_one_and_coverage_one_minus_a_product_for_two_samples_of_one_law() -> None:
    """A ball holds a given generated image with probability k / N; it holds none of M with that of the first k of all
    N - 1 + M being real: with N = M this approaches 2^-k."""
    count_real, count_fake, repeats = 60, 90, 60
    scores = [
        density_coverage(sample(normal(count_fake, 2 * seed)), sample(normal(count_real, 2 * seed + 1)))
        for seed in range(repeats)
    ]
    density, coverage = (torch.tensor([each[key] for each in scores]) for key in ("density", "coverage"))
    missed = prod((count_real - 1 - i) / (count_real - 1 + count_fake - i) for i in range(5))
    for found, expected in ((density, 1.0), (coverage, 1 - missed)):
        assert abs(found.mean().item() - expected) < 4 * found.std().item() / repeats**0.5
    assert density.std() < 0.2
    assert prod((10**6 - 1 - i) / (2 * 10**6 - 1 - i) for i in range(5)) == pytest.approx(2**-5, rel=1e-4)


def test_a_ball_holds_its_boundary() -> None:
    """Six equal real images have balls without a radius; a generated one at the same place is in each of them."""
    real = torch.cat([torch.zeros(6, 2), 5 + normal(6, 0, 2)]).double()
    scores = density_coverage(sample(torch.zeros(1, 2).double()), sample(real))
    assert scores == {"density": 6 / 5, "coverage": 0.5}


def test_half_of_a_second_sample_is_authentic_and_no_copy_is() -> None:
    """By symmetry: of a generated image and of the nearest neighbour of its own, either is the nearer one."""
    real = normal(1000, 0, 8)
    assert authenticity(sample(normal(1000, 1, 8)), sample(real))["authenticity"] == pytest.approx(0.5, abs=0.1)
    assert authenticity(sample(real[::3]), sample(real)) == {"authenticity": 0.0}
    planted = torch.cat([normal(300, 2, 8) + 30, real[:100] + 1e-9])
    assert authenticity(sample(planted), sample(real)) == {"authenticity": 0.75}


def test_a_copy_of_an_image_that_the_data_hold_twice_is_no_authentic_one() -> None:
    real = normal(100, 0)
    assert authenticity(sample(real[:1]), sample(torch.cat([real, real]))) == {"authenticity": 0.0}


@pytest.mark.slow
def test_the_copying_statistic_is_a_z_value_under_one_law_and_finds_planted_copies() -> None:
    law = [
        copying(sample(normal(200, 3 * seed)), sample(normal(400, 3 * seed + 1), normal(200, 3 * seed + 2)))["copying"]
        for seed in range(12)
    ]
    assert abs(sum(law) / len(law)) < 1.0
    assert max(map(abs, law)) < 3.0
    real, held_out = normal(400, 1), normal(200, 2)
    copies = real[:200] + 0.01 * normal(200, 3)
    assert copying(sample(copies), sample(real, held_out))["copying"] < -8
    assert copying(sample(4 * normal(200, 3)), sample(real, held_out))["copying"] > 5
    half = torch.cat([copies[:100], normal(100, 4)])
    assert copying(sample(half), sample(real, held_out))["copying"] < -3


def test_the_z_value_is_exact_and_odd() -> None:
    """All of 3 above all of 4: U = 12, its mean 6, its variance 3 * 4 * 8 / 12."""
    low, high = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6, 7])
    assert z_value(high, low) == -z_value(low, high) == pytest.approx(6 / 8**0.5)
    assert z_value(low, low) == 0


def test_cells_without_enough_images_give_no_score() -> None:
    assert copying(sample(normal(9, 0)), sample(normal(400, 1), normal(200, 2))) == {}


def test_copies_of_training_images_have_a_low_fid_and_no_low_fid_against_held_out_ones() -> None:
    names = ["fid", "density_coverage", "authenticity", "copying", "held_out"]
    real = table(images(120, 0))
    held_out = table(images(60, 1))
    scorer = replace(DIGITS, names=names).against(replace(real, held_out=held_out), 60)
    copies, others = (scorer.score(subject(values)) for values in (real.values[:60], images(60, 2)))
    keys = ["fid", "density", "coverage", "authenticity", "copying"]
    assert list(copies) == [f"{key}_digits_v2" for key in keys] + ["fid_digits_v2_held_out"]
    assert list(scorer.directions) == [key for key in copies if "copying" not in key]
    assert copies["authenticity_digits_v2"] == 0.0
    assert others["authenticity_digits_v2"] > 0.2
    assert copies["copying_digits_v2"] < -3 < others["copying_digits_v2"]
    assert copies["fid_digits_v2"] < 0.5 * others["fid_digits_v2"]
    assert copies["fid_digits_v2_held_out"] > 0.8 * others["fid_digits_v2_held_out"]
    assert set(scorer.floor()) == set(copies)
    assert scorer.protocol["num_compared_held_out"] == 60
    assert scorer.protocol["density_neighbours"] == 5
    assert scorer.held_out is not None
    sides = [DIGITS.features(scorer.extractor, values, "").moments for values in (images(60, 2), held_out.values)]
    assert others["fid_digits_v2_held_out"] == pytest.approx(frechet_distance(*sides), rel=1e-6)


def test_without_held_out_images_what_reads_them_is_left_out() -> None:
    scorer = replace(DIGITS, names=["fid", "copying", "held_out"]).against(table(images(60, 0)), 50)
    assert list(scorer.score(subject(images(50, 1)))) == list(scorer.directions) == ["fid_digits_v2"]
    few = replace(table(images(60, 0)), held_out=table(images(9, 1)))
    with pytest.raises(ValueError, match="9 held-out images are too few to compare with: hold out 10"):
        replace(DIGITS, names=["fid", "held_out"]).against(few, 50)


def test_generated_images_are_beside_their_nearest_training_images_and_the_closest_are_found() -> None:
    real = normal(200, 0)
    fake = normal(100, 1) + 1
    fake[70], fake[50] = real[8], real[30] + 1e-3
    found = nearest_images(sample(fake), sample(real))
    generated, beside = found.closest
    assert generated.flatten()[:2].tolist() == [70, 50]
    assert beside[:2, 0].flatten().tolist() == [8, 30]
    assert found.first[0].flatten().tolist() == list(range(12))
    expected = torch.cdist(fake[:12], real).argsort()[:, :3]
    assert torch.equal(found.first[1].flatten(1), expected.to(torch.uint8))


def test_rows_of_a_larger_set_are_shown_as_themselves() -> None:
    whole = sample(normal(200, 0))
    rows = torch.arange(100, 200)
    part = replace(whole, features=whole.features[rows], rows=rows)
    generated, beside = nearest_images(part, part).first
    assert torch.equal(generated, beside[:, 0])
    assert generated.flatten().tolist() == list(range(100, 112))


def test_few_generated_images_have_a_picture_too() -> None:
    scorer = replace(DIGITS, names=["fid"]).against(TrainingSet(images(30, 0), unlabelled(30)), 12)
    found = scorer.nearest(subject(images(4, 1)))
    assert found.first[0].shape == (4, 1, 16, 16)
    assert found.first[1].shape == found.closest[1].shape == (4, 3, 1, 16, 16)
