"""Modes of stacked digits whose classes are known."""

import math

import pytest
import torch
from torch import Tensor

from gan_cli.config.build import build_dataset
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.datasets import Digits
from gan_cli.metrics.stacked_modes import StackedScorer

from ..values import subject

DATASET = build_dataset(config_of(["dataset=stacked_digits"]))


@pytest.fixture(scope="module")
def one_of_each() -> Tensor:
    """[10, 16, 16]: an image of each class that the classifier gives its own class."""
    digits = build_dataset(config_of(["dataset=digits"]))
    assert isinstance(digits, Digits)
    whole, found = digits.every_image(), list[Tensor]()
    for number in range(10):
        rows = whole.values[whole.labels == number]
        logits = scorer(60).extractor.network(rows)[1]
        found.append(rows[logits.argmax(1) == number][0, 0])
    return torch.stack(found)


def scorer(num_fake: int) -> StackedScorer:
    found = DATASET.metrics.against(DATASET.load(), num_fake)
    assert isinstance(found, StackedScorer)
    return found


def test_all_triples_once_are_all_modes_and_uniform(one_of_each: Tensor) -> None:
    triples = torch.cartesian_prod(*3 * [torch.arange(10)])
    scores = scorer(1000).score(subject(one_of_each[triples]))
    assert scores == {"mode_kl": pytest.approx(0.0, abs=1e-12), "modes": 1000.0}


@pytest.mark.parametrize("modes", [1, 4])
def test_a_collapse_costs_the_log_of_the_loss(one_of_each: Tensor, modes: int) -> None:
    """Also the order of the channels counts."""
    triples = torch.tensor([[1, 2, 3], [3, 2, 1], [2, 2, 2], [9, 0, 9]])[:modes].repeat(5, 1)
    scores = scorer(20).score(subject(one_of_each[triples]))
    assert scores == {"mode_kl": pytest.approx(math.log(1000 / modes)), "modes": float(modes)}


def test_unequal_shares_are_a_divergence(one_of_each: Tensor) -> None:
    triples = torch.tensor([[0, 0, 0]] * 3 + [[5, 5, 5]])
    expected = 0.75 * math.log(0.75 * 1000) + 0.25 * math.log(0.25 * 1000)
    assert scorer(4).score(subject(one_of_each[triples]))["mode_kl"] == pytest.approx(expected)


def test_the_protocol_says_what_sampling_alone_does_and_real_images_are_near_it() -> None:
    """999 / (2 N) is the mean of the divergence for N draws of a uniform law, to first order in 1 / N."""
    many = scorer(6000)
    assert many.protocol["mode_kl_of_sampling"] == pytest.approx(999 / 12_000, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1000, (6000,), generator=generator).bincount(minlength=1000).double() / 6000
    drawn = torch.special.xlogy(counts, counts * 1000).sum().item()
    assert drawn == pytest.approx(999 / 12_000, rel=0.15)
    real = many.floor()
    assert real["modes"] > 990
    assert real["mode_kl"] == pytest.approx(999 / 12_000, rel=0.3)


def test_other_data_are_refused() -> None:
    for overrides in (["dataset=digits"], ["dataset=ring"]):
        other: TrainingSet = build_dataset(config_of(overrides)).load()
        with pytest.raises(ValueError, match="use dataset=stacked_digits or stacked_mnist"):
            DATASET.metrics.against(other, 100)
