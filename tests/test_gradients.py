"""Descent: its steps, its ball, and that it looks but does not touch."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_cli.game import Game
from gan_cli.gradients import descent, input_gradient, normalised, onto_ball
from gan_cli.objectives import FGAN, LSGAN, Hinge, Objective, Relativistic, StdGAN, Wasserstein

from .conftest import realness
from .values import examples, latents

Z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
anywhere = onto_ball(Z, None)


def bowl(points: Tensor) -> Tensor:
    return points.square().sum()


def test_each_step_moves_every_coordinate_by_the_step_size_downhill() -> None:
    moved = descent(bowl, Z, steps=1, step_size=0.01, project=anywhere, norm="sign")
    torch.testing.assert_close(moved, Z - 0.01 * Z.sign())


def test_many_steps_end_within_one_step_of_the_minimum() -> None:
    moved = descent(bowl, Z, steps=1000, step_size=0.01, project=anywhere, norm="sign")
    assert moved.abs().max() <= 0.01 + 1e-12


@pytest.mark.parametrize(
    ("steps", "radius", "reach"), [(5, None, 0.5), (5, 0.25, 0.25), (2, 0.25, 0.2), (0, None, 0.0)]
)
def test_the_radius_holds_and_is_used(steps: int, radius: float | None, reach: float) -> None:
    moved = descent(lambda z: z.sum(), Z, steps=steps, step_size=0.1, project=onto_ball(Z, radius), norm="sign")
    torch.testing.assert_close(moved, Z - reach)


def test_no_steps_are_the_identity() -> None:
    assert torch.equal(descent(bowl, Z, steps=0, step_size=1.0, project=anywhere, norm="sign"), Z)


def test_descent_works_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        moved = descent(bowl, Z, steps=1, step_size=0.01, project=anywhere, norm="sign")
        assert input_gradient(bowl, Z, differentiable=False).shape == Z.shape
    torch.testing.assert_close(moved, Z - 0.01 * Z.sign())


def test_a_penalty_on_a_gradient_reaches_what_made_its_inputs() -> None:
    """w = A z and f(w) = sum w^3 / 3: the gradient is w^2, its squared length sum w^4, and d/dA is 4 w^3 z'."""
    mapping = nn.Linear(3, 5, bias=False).double()
    mapped = mapping(Z)
    gradient = input_gradient(lambda w: w.pow(3) / 3, mapped, differentiable=True)
    torch.testing.assert_close(gradient, mapped.square())
    gradient.square().sum().backward()
    torch.testing.assert_close(mapping.weight.grad, 4 * mapped.detach().pow(3).T @ Z)


def test_a_gradient_that_is_only_looked_at_has_no_graph() -> None:
    mapping = nn.Linear(3, 5, bias=False).double()
    gradient = input_gradient(lambda w: w.pow(3) / 3, mapping(Z), differentiable=False)
    torch.testing.assert_close(gradient, mapping(Z).square().detach())
    assert not gradient.requires_grad
    assert mapping.weight.grad is None


# Every loss that falls as a fake image's raw output rises, whatever else is in the batch.
MONOTONE: list[Objective] = [
    StdGAN(saturating=False),
    StdGAN(saturating=True),
    Hinge(),
    Wasserstein(),
    LSGAN(fake_target=0.0, real_target=1.0, generator_target=50.0),  # below its target
    Relativistic(pairing="average", loss="standard"),
    Relativistic(pairing="paired", loss="standard"),
    *(
        FGAN(divergence=name, saturating=False, alpha=0.5, pi=0.5)  # type: ignore[arg-type]
        for name in ("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey", "gan", "total_variation")
    ),
]


@pytest.mark.parametrize("objective", MONOTONE, ids=lambda o: str(o)[:60])
def test_trajectories_of_all_monotone_losses_of_a_scalar_critic_agree(objective: Objective) -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4), nn.Unflatten(1, (4, 1, 1))).double()
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    real = torch.randn(6, 4, 1, 1, dtype=torch.float64)
    loss = Game(generator, discriminator, objective).generator_loss_against(examples(real))
    for steps in (1, 7, 30):
        search = {"steps": steps, "step_size": 0.05, "project": onto_ball(Z, 0.6), "norm": "sign"}
        theirs = descent(lambda z: -discriminator(generator(z)), Z, **search)
        assert torch.equal(descent(lambda z: loss(latents(z)), Z, **search), theirs)


def test_a_distribution_of_outcomes_has_trajectories_of_its_own() -> None:
    """Objectives 1, 2 and 3 of RealnessGAN tell latents apart, so it is the objective's own loss that is followed."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4), nn.Unflatten(1, (4, 1, 1))).double()
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 7)).double()
    real, ended = torch.randn(6, 4, 1, 1, dtype=torch.float64), []
    for number in (1, 2, 3):
        anchors = {"anchors": "expected", "real_skew": 0.5, "fake_skew": -0.5}
        objective = realness(num_outcomes=7, generator_objective=number, **anchors)
        loss = Game(generator, discriminator, objective).generator_loss_against(examples(real))
        ended.append(
            descent(lambda z, loss=loss: loss(latents(z)), Z, steps=5, step_size=0.05, project=anywhere, norm="sign")  # type: ignore[misc]
        )
    assert not torch.equal(ended[0], ended[1])
    assert not torch.equal(ended[1], ended[2])


def test_following_binary_cross_entropy_is_following_the_output() -> None:
    critic = nn.Linear(3, 1).double()
    ours = descent(lambda z: -critic(z), Z, steps=4, step_size=0.1, project=anywhere, norm="sign")
    ones = torch.ones(6, 1, dtype=torch.float64)
    theirs = descent(
        lambda z: binary_cross_entropy_with_logits(critic(z), ones),
        Z,
        steps=4,
        step_size=0.1,
        project=anywhere,
        norm="sign",
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("radius", "half_width"), [(None, math.inf), (0.5, math.inf), (None, 1.0), (0.5, 1.0)])
def test_projection_is_to_the_nearest_point_within_both_bounds(radius: float | None, half_width: float) -> None:
    center, point = torch.tensor([0.8, -0.2, 0.0]), torch.tensor([3.0, -0.5, 0.3])
    reach = math.inf if radius is None else radius
    expected = [max(min(p, c + reach, half_width), c - reach, -half_width) for p, c in zip(point, center, strict=True)]
    torch.testing.assert_close(onto_ball(center, radius, half_width)(point), torch.tensor(expected))


def test_a_euclidean_step_has_its_length_however_small_the_gradient() -> None:
    for scale in (1.0, 1e-300):
        moved = descent(lambda z: scale * bowl(z), Z, steps=1, step_size=0.01, project=anywhere, norm="l2")  # noqa: B023
        torch.testing.assert_close(moved, Z - 0.01 * Z / Z.norm(dim=1, keepdim=True))


def test_a_euclidean_projection_is_to_the_nearest_point_of_the_ball() -> None:
    offset = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    center = torch.tensor([[1.0, -2.0], [0.5, 0.5], [0.0, 7.0]], dtype=torch.float64)
    expected = center + torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(onto_ball(center, 1.0, norm="l2")(center + offset), expected)
    torch.testing.assert_close(onto_ball(center, None, norm="l2")(center + offset), center + offset)
    assert torch.equal(onto_ball(center, 0.0, norm="l2")(center + offset), center)
    bounded = onto_ball(center, None, 0.5, norm="l2")(center + offset)
    torch.testing.assert_close(bounded, (center + offset).clamp(-0.5, 0.5))


def test_vectors_of_any_shape_are_brought_to_length_one_and_zero_stays() -> None:
    vectors = torch.tensor([[[3e-200, 0.0], [0.0, 4e-200]], [[0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.6, 0.0], [0.0, 0.8]], [[0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(normalised(vectors), expected)
