"""Objectives against closed forms, in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_cli.objectives import Hinge, Objective, StdGAN, Wasserstein

REAL = torch.tensor([[0.3], [-1.2], [2.5], [40.0]], dtype=torch.float64)
FAKE = torch.tensor([[-0.7], [0.4], [1.0], [-40.0]], dtype=torch.float64)


def test_stdgan_is_binary_cross_entropy() -> None:
    ones, zeros = torch.ones_like(REAL), torch.zeros_like(FAKE)
    real_term = binary_cross_entropy_with_logits(REAL, ones)
    fake_term = binary_cross_entropy_with_logits(FAKE, zeros)
    torch.testing.assert_close(StdGAN(saturating=False).discriminator_loss(REAL, FAKE), real_term + fake_term)
    torch.testing.assert_close(
        StdGAN(saturating=False).generator_loss(REAL[:0], FAKE), binary_cross_entropy_with_logits(FAKE, ones)
    )
    torch.testing.assert_close(StdGAN(saturating=True).generator_loss(REAL[:0], FAKE), -fake_term)


def test_stdgan_at_its_optimum_measures_the_jensen_shannon_divergence() -> None:
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    loss = StdGAN(saturating=False).discriminator_loss(repeated((p / q).log(), p), repeated((p / q).log(), q))
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    torch.testing.assert_close(-loss, 2 * divergence - math.log(4))


@pytest.mark.parametrize("saturating", [True, False])
def test_both_stdgan_generator_losses_fall_as_the_score_rises(saturating: bool) -> None:
    logits = FAKE.clone().requires_grad_(True)
    StdGAN(saturating=saturating).generator_loss(REAL[:0], logits).backward()
    share = torch.sigmoid(FAKE) if saturating else torch.sigmoid(-FAKE)
    torch.testing.assert_close(logits.grad, -share / len(FAKE))


def test_hinge() -> None:
    real, fake = torch.tensor([[0.5], [2.0]]).double(), torch.tensor([[-3.0], [0.5]]).double()
    assert Hinge().discriminator_loss(real, fake).item() == pytest.approx((0.5 + 0) / 2 + (0 + 1.5) / 2)
    assert Hinge().generator_loss(real[:0], fake).item() == pytest.approx(1.25)


def test_hinge_optimum_is_two_minus_twice_the_overlap() -> None:
    """With D = sign(p - q), the loss is 2 * sum(min(p, q)): 2 for equal distributions, 0 for disjoint ones."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    loss = Hinge().discriminator_loss(repeated((p - q).sign(), p), repeated((p - q).sign(), q))
    torch.testing.assert_close(loss, 2 * torch.minimum(p, q).sum())


def test_wasserstein_is_antisymmetric_and_indifferent_to_a_shift() -> None:
    loss = Wasserstein().discriminator_loss(REAL, FAKE)
    torch.testing.assert_close(loss, FAKE.mean() - REAL.mean())
    torch.testing.assert_close(Wasserstein().discriminator_loss(FAKE, REAL), -loss)
    torch.testing.assert_close(Wasserstein().discriminator_loss(REAL + 5, FAKE + 5), loss)
    torch.testing.assert_close(Wasserstein().generator_loss(REAL[:0], FAKE), -FAKE.mean())


@pytest.mark.parametrize("objective", [StdGAN(saturating=False), Hinge(), Wasserstein()])
def test_the_score_is_the_logit(objective: Objective) -> None:
    assert objective.num_outcomes == 1
    torch.testing.assert_close(objective.score(REAL), REAL[:, 0])


def repeated(output: Tensor, weights: Tensor) -> Tensor:
    """Logits of a batch in which outcome i makes up the share weights[i]."""
    return output.repeat_interleave((weights * 20).round().long()).unsqueeze(1)


def shares(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
