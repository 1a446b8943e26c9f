"""Modes, quality and balance of points whose answer is known."""

import math

import pytest
import torch
from torch import Tensor

from gan_cli.datasets import Digits, Ring
from gan_cli.metrics.mode_metrics import ModeMetrics

from ..conftest import EVERY_LABEL
from ..values import subject

METRICS = ModeMetrics(max_deviations=3.0)
RING = Ring(num_modes=8, radius=2.0, std=0.1, points_per_mode=500, metrics=METRICS)


def score(points: Tensor) -> dict[str, float]:
    return METRICS.against(RING.load(), len(points)).score(subject(points.reshape(-1, 2, 1, 1)))


def test_centres_themselves_are_perfect() -> None:
    assert score(RING.centers().repeat(3, 1)) == {
        "modes_covered": 8.0,
        "high_quality_fraction": 1.0,
        "mode_kl": pytest.approx(0.0, abs=1e-12),
    }


@pytest.mark.parametrize("modes", [1, 2, 4])
def test_a_collapse_onto_few_modes_costs_the_log_of_the_loss(modes: int) -> None:
    scores = score(RING.centers()[:modes].repeat(5, 1))
    assert scores["modes_covered"] == modes
    assert scores["mode_kl"] == pytest.approx(math.log(8 / modes))


def test_the_threshold_is_in_standard_deviations() -> None:
    directions = torch.tensor([[0.299, 0.0], [0.301, 0.0]])
    scores = score(RING.centers()[:1] + directions)
    assert scores["high_quality_fraction"] == 0.5
    assert score(torch.zeros(4, 2))["modes_covered"] == 0


def test_real_points_have_the_share_of_a_rayleigh_law() -> None:
    """A round Gaussian lies within k deviations with probability 1 - exp(-k^2 / 2)."""
    floor = METRICS.against(RING.load(), 10).floor()
    assert floor["high_quality_fraction"] == pytest.approx(1 - math.exp(-4.5), abs=0.006)
    assert floor["modes_covered"] == 8
    assert floor["mode_kl"] == pytest.approx(7 / (2 * 2000), abs=0.004)  # its mean under uniform sampling


def test_the_scorer_says_what_each_of_its_metrics_means() -> None:
    scorer = METRICS.against(RING.load(), 10)
    scores = scorer.score(subject(RING.centers().reshape(-1, 2, 1, 1)))
    assert dict(scorer.directions) == {"modes_covered": "higher", "high_quality_fraction": "higher", "mode_kl": "lower"}
    assert scorer.directions.keys() == scores.keys()
    assert next(iter(scores)) == scorer.leading == scorer.headlines[0]
    assert not scorer.lower_is_better


def test_other_data_is_refused() -> None:
    digits = Digits(image_size=16, metrics=METRICS, **EVERY_LABEL)
    with pytest.raises(ValueError, match="use dataset=ring, grid or grid3"):
        METRICS.against(digits.load(), 10)
