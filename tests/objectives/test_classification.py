"""Objectives of class logits, against their closed forms in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_cli.objectives import Classification, ClassLogits, SemiSupervised, StdGAN

SEMI = SemiSupervised(num_classes=5, generator_weight=1.0)
BOTH = (Classification(num_classes=5), SEMI)


def logits(seed: int, classes: int = 5, rows: int = 7) -> Tensor:
    return 3 * torch.randn(rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("objective", BOTH, ids=lambda objective: type(objective).__name__)
def test_the_supervised_loss_is_the_mean_over_images_with_a_label(objective: ClassLogits) -> None:
    found, labels = logits(0), torch.tensor([2, -1, 0, 4, -1, 1, 3])
    rows = (labels >= 0).nonzero().flatten()
    expected = -torch.stack([(found[row].exp() / found[row].exp().sum())[labels[row]].log() for row in rows]).mean()
    torch.testing.assert_close(objective.supervised_loss(found, labels), expected)
    assert objective.num_outcomes == 5


@pytest.mark.parametrize("objective", BOTH, ids=lambda objective: type(objective).__name__)
def test_without_labels_the_supervised_loss_is_zero_with_a_gradient(objective: ClassLogits) -> None:
    found = logits(0).requires_grad_()
    loss = objective.supervised_loss(found, torch.full((7,), -1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert found.grad is not None
    assert torch.equal(found.grad, torch.zeros_like(found))


@pytest.mark.parametrize("objective", BOTH, ids=lambda objective: type(objective).__name__)
def test_disagreement_is_the_kl_divergence_of_class_distributions(objective: ClassLogits) -> None:
    p, q = logits(0).softmax(1), logits(1).softmax(1)
    torch.testing.assert_close(objective.disagreement(logits(0), logits(1)), (p * (p / q).log()).sum(1))
    assert objective.disagreement(logits(0), logits(0) + 7.0).abs().max() < 1e-12  # a shift of all logits is none


def test_the_score_of_a_classifier_is_the_largest_log_probability() -> None:
    expected = logits(0).softmax(1).amax(1).log()
    torch.testing.assert_close(Classification(num_classes=5).score(logits(0)), expected)


def test_one_class_is_the_standard_gan() -> None:
    one, standard = SemiSupervised(num_classes=1, generator_weight=1.0), StdGAN(saturating=False)
    real, fake = logits(0, classes=1), logits(1, classes=1)
    torch.testing.assert_close(one.discriminator_loss(real, fake), standard.discriminator_loss(real, fake))
    torch.testing.assert_close(one.generator_loss(None, fake), standard.generator_loss(None, fake))
    torch.testing.assert_close(one.score(real), standard.score(real))
    assert one.supervised_loss(real, torch.zeros(7, dtype=torch.long)).abs() < 1e-12


def test_the_generated_ones_are_a_class_whose_logit_is_zero() -> None:
    """The losses are those of a softmax over K + 1 classes (Salimans et al. 2016, section 5)."""
    real, fake = logits(0), logits(1)
    of_real, of_fake = (torch.cat([found, torch.zeros(7, 1)], 1).softmax(1) for found in (real, fake))
    expected = -(1 - of_real[:, -1]).log().mean() - of_fake[:, -1].log().mean()
    torch.testing.assert_close(SEMI.discriminator_loss(real, fake), expected)
    torch.testing.assert_close(SEMI.generator_loss(None, fake), -(1 - of_fake[:, -1]).log().mean())
    torch.testing.assert_close(SEMI.score(real), (1 / of_real[:, -1] - 1).log())
    given_real = of_real[:, :-1] / of_real[:, :-1].sum(1, keepdim=True)  # the class of an image that is real
    torch.testing.assert_close(given_real, real.softmax(1))


def test_the_gradient_of_realness_is_shared_among_classes_by_their_probability() -> None:
    found = logits(0).requires_grad_()
    SEMI.score(found).sum().backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    torch.testing.assert_close(found.grad, found.detach().softmax(1))


def test_the_generators_weight_scales_its_loss_alone() -> None:
    real, fake = logits(0), logits(1)
    for weight in (0.0, 0.25):
        objective = SemiSupervised(num_classes=5, generator_weight=weight)
        assert torch.equal(objective.discriminator_loss(real, fake), SEMI.discriminator_loss(real, fake))
        torch.testing.assert_close(objective.generator_loss(None, fake), weight * SEMI.generator_loss(None, fake))
    with pytest.raises(ValueError, match="generator_weight=-1.0 must be at least 0"):
        SemiSupervised(num_classes=5, generator_weight=-1.0)


def test_balanced_realness_has_the_standard_equilibrium() -> None:
    zero_realness = torch.full((3, 5), -math.log(5.0), dtype=torch.float64)  # log-sum-exp 0
    assert SEMI.discriminator_loss(zero_realness, zero_realness).item() == pytest.approx(SEMI.equilibrium_loss())
    assert SEMI.perfect_loss() == 0
    far = torch.full((3, 5), 40.0, dtype=torch.float64)
    assert SEMI.discriminator_loss(far, -far).item() == pytest.approx(0, abs=1e-12)
    assert softplus(torch.tensor(0.0)).item() * 2 == pytest.approx(SEMI.equilibrium_loss())
