"""Penalties of a linear critic, whose slope is known, in float64; spectral norm of a known matrix."""

import pytest
import torch
from torch import Tensor, nn

from gan_cli.game import Game, Turn
from gan_cli.gradients import input_gradient
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import R1, GradientPenalty, Regularizer, SpectralNorm

SHAPE = (5, 2, 3, 3)


class Linear(nn.Module):
    """D(x) = a . x, whose slope is `a` at every image."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        direction = torch.randn(SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.direction = nn.Parameter(slope * direction / direction.norm())

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.direction).flatten(1).sum(1, keepdim=True)


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose slope is x itself."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(1, keepdim=True) / 2


def turn() -> Turn:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(SHAPE, dtype=torch.float64, generator=generator) for _ in range(2))
    return Turn(real, torch.full((5,), -1), torch.zeros(5, 1), fake)


def penalty(regularizer: Regularizer, discriminator: nn.Module) -> Tensor:
    return regularizer.penalty(Game(nn.Identity(), discriminator, Wasserstein()), turn())


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_penalties_of_a_linear_critic(slope: float) -> None:
    critic = Linear(slope)
    cases = {
        R1(weight=1.0): slope**2 / 2,
        GradientPenalty(weight=1.0, target=1.0, one_sided=False): (slope - 1) ** 2,
        GradientPenalty(weight=1.0, target=1.0, one_sided=True): max(slope - 1, 0) ** 2,
        GradientPenalty(weight=1.0, target=0.0, one_sided=False): slope**2,
    }
    for regularizer, expected in cases.items():
        assert penalty(regularizer, critic).item() == pytest.approx(expected, abs=3e-6), regularizer


def test_r1_is_taken_at_real_images_per_image() -> None:
    torch.testing.assert_close(penalty(R1(weight=1.0), Quadratic()), turn().real.square().flatten(1).sum(1).mean() / 2)


def test_gradient_penalty_is_taken_between_real_and_fake_per_image() -> None:
    torch.manual_seed(3)
    measured = penalty(GradientPenalty(weight=1.0, target=0.0, one_sided=False), Quadratic())
    torch.manual_seed(3)
    mixture = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    between = mixture * turn().real + (1 - mixture) * turn().fake
    torch.testing.assert_close(measured, between.square().flatten(1).sum(1).mean())


@pytest.mark.parametrize(
    "regularizer",
    [R1(weight=1.0), GradientPenalty(weight=1.0, target=1.0, one_sided=False)],
    ids=lambda r: type(r).__name__,
)
def test_penalties_can_be_minimised(regularizer: Regularizer) -> None:
    """The gradient with respect to a linear critic's weights: a for R1, 2 (|a| - 1) a / |a| for the penalty."""
    critic = Linear(3.0)
    penalty(regularizer, critic).backward()
    factor = 1.0 if isinstance(regularizer, R1) else 2 * (3.0 - 1.0) / 3.0
    torch.testing.assert_close(critic.direction.grad, factor * critic.direction.detach())


def test_gradient_penalty_has_a_finite_gradient_at_zero_slope() -> None:
    critic = Linear(0.0)
    penalty(GradientPenalty(weight=1.0, target=1.0, one_sided=False), critic).backward()
    assert critic.direction.grad is not None
    assert critic.direction.grad.isfinite().all()


def test_input_gradient_leaves_parameters_alone() -> None:
    critic = Linear(1.0)
    gradient = input_gradient(critic, turn().real, differentiable=False)
    torch.testing.assert_close(gradient, critic.direction.detach().expand(SHAPE))
    assert critic.direction.grad is None


def test_spectral_norm_brings_every_largest_singular_value_to_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5)).double()
    SpectralNorm(num_power_iterations=5).impose(network)
    for _ in range(50):
        network(torch.randn(2, 3, 4, 4, dtype=torch.float64))
    network.eval()
    for layer in (network[0], network[3]):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1.0, rel=1e-6)
    assert not hasattr(network[1], "parametrizations")


def test_input_gradient_does_not_mark_its_input() -> None:
    images = torch.ones(2, 1)
    input_gradient(lambda values: values.square(), images, differentiable=True)
    assert not images.requires_grad


def test_spectral_norm_iterates_as_often_as_asked() -> None:
    layer = nn.Linear(4, 4)
    SpectralNorm(num_power_iterations=3).impose(layer)
    assert layer.parametrizations.weight[0].n_power_iterations == 3
