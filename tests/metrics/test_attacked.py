"""The test error under attacks, against closed forms on a linear classifier."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.attacks import FGSM, PGD, Attack
from gan_cli.data import TrainingSet
from gan_cli.metrics.classification import ClassificationMetrics
from gan_cli.shapes import unlabelled

from ..values import subject

STEPS: Any = {"steps": 3, "relative_step_size": 1.0}
ATTACKS: list[Attack] = [
    FGSM(epsilon=0.01, norm="sign"),
    FGSM(epsilon=0.05, norm="l2"),
    PGD(epsilon=0.01, norm="sign", **STEPS),
]


def metrics(attacks: list[Attack]) -> ClassificationMetrics:
    return ClassificationMetrics(batch_size=64, attacks=attacks)


def test_each_attack_has_the_error_that_the_margins_say() -> None:
    """An image is lost as soon as epsilon times the dual norm of the difference of the weights exceeds its log odds."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).double()
    images = 0.5 * torch.rand(300, 1, 3, 3, dtype=torch.float64)
    logits = network(images).detach()
    labels = logits.argmax(1)
    labels[:3] = 1 - labels[:3]
    real = TrainingSet(images, unlabelled(300), held_out=TrainingSet(images, labels))
    scorer = metrics(ATTACKS).against(real, 0)
    found = scorer.score(replace(subject(images[:0]), classify=network))
    margin = (logits[:, 0] - logits[:, 1]).abs()
    slope = (network[1].weight[0] - network[1].weight[1]).detach()  # type: ignore[index]
    lost = {
        "test_error": 0 * margin,
        "test_error_fgsm_0.01": 0.01 * slope.abs().sum(),
        "test_error_fgsm_l2_0.05": 0.05 * slope.norm(),
        "test_error_pgd_0.01": 0.01 * slope.abs().sum(),
    }
    wrong = torch.arange(300) < 3
    for key, fall in lost.items():
        assert found[key] == pytest.approx((wrong | (margin < fall)).double().mean().item()), key
        assert scorer.directions[key] == "lower"
    assert found["test_error"] == 0.01 < found["test_error_fgsm_0.01"]
    assert scorer.headlines == tuple(lost)
    assert scorer.protocol["test_error_pgd_0.01"] == str(ATTACKS[2])


def test_two_attacks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="attacks=fgsm_0.01, fgsm_0.01 must differ"):
        metrics([ATTACKS[0], ATTACKS[0]])
