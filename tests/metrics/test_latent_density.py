"""The change of density of planted codes, against how sure the classifier is of their images."""

import pytest
import torch

from gan_cli.metrics.latent_density import latent_density, log_density
from gan_cli.metrics.metrics import Sample
from gan_cli.shapes import Codes, Refined, unlabelled

COUNT = 2000
DRAWN = torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(0)).double()
SURE, UNSURE = 0.9, 0.6


def planted(codes: Codes, drawn: Codes = DRAWN) -> Sample:
    """Of images with codes on the right the classifier is sure."""
    logits = torch.where(codes[:, :1] > 0, torch.tensor([SURE, 1 - SURE]), torch.tensor([UNSURE, 1 - UNSURE])).log()
    return Sample(
        torch.zeros(COUNT, 1, 1, 1), torch.zeros(COUNT, 1), logits, unlabelled(COUNT), refined=Refined(drawn, codes)
    )


def mirrored(side: int) -> Codes:
    """Half of the codes to that side, -1 or 1: the density there grows to 1.5 times, and falls to 0.5 elsewhere."""
    codes = DRAWN.clone()
    codes[::2, 0] = side * codes[::2, 0].abs()
    return codes


@pytest.mark.parametrize(("side", "expected"), [(1, SURE - UNSURE), (-1, UNSURE - SURE)])
def test_codes_that_gather_where_images_are_good_raise_it_and_others_lower_it(side: int, expected: float) -> None:
    sample = planted(mirrored(side))
    assert latent_density(sample, sample)["latent_density"] == pytest.approx(expected, abs=1e-6)


def test_it_is_about_zero_for_a_sampler_that_moves_no_code() -> None:
    """Two means of 200 draws of 0.9 or 0.6: their difference has a standard deviation of 0.015."""
    sample = planted(DRAWN)
    assert abs(latent_density(sample, sample)["latent_density"]) < 4 * 0.015


def test_codes_of_three_coordinates_have_none_nor_images_without_codes() -> None:
    wide = torch.randn(COUNT, 3).double()
    known, unknown = (
        planted(wide, wide),
        Sample(torch.zeros(4, 1, 1, 1), torch.zeros(4, 1), torch.zeros(4, 2), unlabelled(4)),
    )
    assert latent_density(known, known) == latent_density(unknown, unknown) == {}


def test_codes_on_a_line_have_none() -> None:
    """They have no kernel estimate in the plane."""
    sample = planted(DRAWN[:, :1].repeat(1, 2))
    assert latent_density(sample, sample) == {}


def test_the_kernel_estimate_is_the_density_of_a_large_sample() -> None:
    """Scott's kernel widens a standard normal law of 2,000 points by 2000^(-1/3): density 1 / (2 pi 1.079) at 0."""
    estimate = torch.from_numpy(log_density(DRAWN, torch.zeros(1, 2))).exp().item()
    widened = 1 + COUNT ** (-1 / 3)
    assert estimate == pytest.approx(1 / (2 * torch.pi * widened), rel=0.05)
