"""The Dirac GAN (Mescheder et al. 2018, arXiv:1801.04406, section 2): one real point, one generated, a linear critic.

The eigenvalues of the gradient field at the equilibrium say whether training converges, and at which rate.
"""

import cmath
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_cli.game import Game
from gan_cli.objectives import Objective, Relativistic, StdGAN
from gan_cli.regularizers import R1, R2, GradientPenalty, Regularizer

from .values import a_turn, examples

PAIRS, STANDARD = Relativistic(pairing="paired", loss="standard"), StdGAN(saturating=False)


class Point(nn.Module):
    """Every code becomes the point theta."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, codes: Tensor) -> Tensor:
        return (0 * codes + self.theta)[:, :, None, None]


class Slope(nn.Module):
    """D(x) = psi x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, points: Tensor) -> Tensor:
        return self.psi * points.flatten(1)


Gradients = tuple[Tensor, Tensor]


def field(objective: Objective, regularizers: list[Regularizer], psi: float = 0.0) -> tuple[Gradients, Gradients]:
    """(-dL_D / dpsi, -dL_G / dtheta) at theta = 0, and psi and theta; the real point is 0."""
    generator, discriminator = Point(), Slope(psi)
    game = Game(generator, discriminator, objective)
    real, fake = examples(torch.zeros(2, 1, 1, 1).double()), examples(generator(torch.zeros(2, 1).double()))
    real_logits, fake_logits = game.judge(real), game.judge(fake)
    loss = objective.discriminator_loss(real_logits, fake_logits)
    for each in regularizers:
        loss = loss + each.penalty(game, a_turn(real.images, fake.images)) * float(each.weight)
    (of_psi,) = torch.autograd.grad(-loss, discriminator.psi, create_graph=True)
    theirs = objective.generator_loss(real_logits, fake_logits)
    (of_theta,) = torch.autograd.grad(-theirs, generator.theta, create_graph=True)
    return (of_psi, of_theta), (discriminator.psi, generator.theta)


def eigenvalues(objective: Objective, regularizers: list[Regularizer]) -> list[complex]:
    """Of the field's Jacobian at the equilibrium, psi = theta = 0."""
    gradients, variables = field(objective, regularizers)
    rows = [torch.autograd.grad(each, variables, retain_graph=True, materialize_grads=True) for each in gradients]
    found = torch.linalg.eigvals(torch.stack([torch.stack(row) for row in rows])).tolist()
    return sorted(found, key=lambda value: (value.real, value.imag))


def pair(middle: float, square: float) -> list[complex]:
    root = cmath.sqrt(square)
    return sorted([middle - root, middle + root], key=lambda value: (value.real, value.imag))


def r1_alone(gamma: float) -> tuple[list[Regularizer], list[complex]]:
    return [R1(weight=gamma)], pair(-gamma / 2, gamma**2 / 4 - 1 / 4)


def r1_and_r2(gamma: float) -> tuple[list[Regularizer], list[complex]]:
    return [R1(weight=gamma), R2(weight=gamma)], pair(-gamma, gamma**2 - 1 / 4)


Penalised = Callable[[float], tuple[list[Regularizer], list[complex]]]


@pytest.mark.parametrize("objective", [STANDARD, PAIRS], ids=["standard", "pairs"])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("penalised", [r1_alone, r1_and_r2])
def test_gradient_penalties_make_the_equilibrium_attract(
    objective: Objective, gamma: float, penalised: Penalised
) -> None:
    """Critically damped at gamma = 1 with R1 alone, and at 1/2 with R1 and R2."""
    regularizers, expected = penalised(gamma)
    found = eigenvalues(objective, regularizers)
    assert found == [pytest.approx(value, abs=1e-7) for value in expected]  # a double root is known to half the digits
    assert all(value.real < 0 for value in found)


@pytest.mark.parametrize("objective", [STANDARD, PAIRS], ids=["standard", "pairs"])
def test_without_a_penalty_it_turns_for_ever(objective: Objective) -> None:
    assert eigenvalues(objective, []) == [pytest.approx(value, abs=1e-12) for value in (-0.5j, 0.5j)]


@pytest.mark.parametrize("psi", [0.01, -0.01])
def test_the_penalty_of_wgan_gp_has_no_equilibrium_there(psi: float) -> None:
    """Its target is a slope of 1, so that it pushes psi away from 0 on either side, R1 towards it."""
    penalty = GradientPenalty(weight=0.3, target=1.0, one_sided=False)
    assert field(STANDARD, [penalty], psi)[0][0].item() == pytest.approx(0.6 * (psi / abs(psi) - psi), rel=1e-4)
    assert field(STANDARD, [R1(weight=0.3)], psi)[0][0].item() == pytest.approx(-0.3 * psi)
