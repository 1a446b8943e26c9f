"""LOGAN's moved latents and their penalty, for players whose gradients are known, in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gan_cli.experiment import Experiment
from gan_cli.game import Game
from gan_cli.latent_samplers import LOGAN, LatentSampler
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import LatentDistance
from gan_cli.shapes import Codes, Examples, Latents, Moved
from gan_cli.trainer import train
from gan_cli.turns import Batch, Rules, discriminator_turn, generator_turn

from ..conftest import TINY
from ..values import a_turn, examples, latents

ALPHA, BETA = 0.9, 0.1


@dataclass(frozen=True, kw_only=True)
class Fixed(LatentSampler):
    """The same codes at every draw."""

    codes: Tensor
    half_width: float = math.inf

    def sample(self, count: int, device: torch.device) -> Codes:
        return self.codes[:count]


class Times(nn.Module):
    """An image of one pixel for each code: the code times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, codes: Tensor) -> Tensor:
        return self.weight * codes[:, :, None, None]


class HalfSquare(nn.Module):
    """Times a weight: half the sum of an image's squares, whose slope is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.square().flatten(1).sum(1, keepdim=True) / 2


def logan(codes: Tensor, share: float = 1.0, half_width: float = math.inf) -> LOGAN:
    return LOGAN(prior=Fixed(codes=codes, half_width=half_width), alpha=ALPHA, beta=BETA, share=share)


def codes_of(count: int, width: int = 2) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def real_images(count: int, width: int = 2) -> Examples:
    return examples(torch.zeros(count, width, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("share", [1.0, 0.8, 0.01])
def test_codes_go_one_step_of_natural_gradient_up_the_score(share: float) -> None:
    """v(G(z)) = w^2 |z|^2 / 2, so g = w^2 z."""
    codes, game = codes_of(10), Game(Times(3.0), HalfSquare(), Wasserstein())
    slope = 9 * codes
    expected = codes + ALPHA * slope / (BETA + slope.square().sum(1, keepdim=True))
    count = {1.0: 10, 0.8: 8, 0.01: 1}[share]
    for moved in (
        logan(codes, share).for_discriminator(game, real_images(10)),
        logan(codes, share).for_generator(game, real_images(10)),
    ):
        assert isinstance(moved, Moved)
        torch.testing.assert_close(moved.codes.detach(), torch.cat([expected[:count], codes[count:]]))
        assert torch.equal(moved.drawn, codes)


def test_codes_stay_in_the_support_of_the_prior() -> None:
    codes = codes_of(10).clamp(-1, 1)
    moved = logan(codes, half_width=1.0).for_discriminator(
        Game(Times(1.0), HalfSquare(), Wasserstein()), real_images(10)
    )
    free = logan(codes).for_discriminator(Game(Times(1.0), HalfSquare(), Wasserstein()), real_images(10))
    torch.testing.assert_close(moved.codes, free.codes.clamp(-1, 1))
    assert free.codes.abs().max() > 1


def test_the_generators_gradient_flows_through_the_moved_codes_and_the_penalty() -> None:
    codes = codes_of(6, 1)
    generator = Times(1.5)
    game = Game(generator, HalfSquare(), Wasserstein())
    penalty = LatentDistance(weight=0.1)
    played = generator_turn(
        Rules(game, logan(codes), {"distance": penalty}), Batch(real_images(6, 1), real_images(6, 1)), 1, 0
    )
    (found,) = torch.autograd.grad(sum(played.losses.values()), [generator.weight])
    w = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    slope = w**2 * codes
    step = ALPHA * slope / (BETA + slope**2)
    loss = -(w**2 * (codes + step) ** 2 / 2).mean() + 0.1 * (step**2).mean()
    (expected,) = torch.autograd.grad(loss, w)
    torch.testing.assert_close(found, expected)
    (through_images,) = torch.autograd.grad(-(w**2 * (codes + step.detach()) ** 2 / 2).mean(), w)
    assert (found - through_images).abs() > 0.1  # than without that flow


def test_the_discriminator_takes_the_moved_codes_as_they_are() -> None:
    codes, game = codes_of(6, 1), Game(Times(1.5), HalfSquare(), Wasserstein())
    played = discriminator_turn(Rules(game, logan(codes), {}), Batch(real_images(6, 1), real_images(6, 1)), 1, 0)
    assert not played.turn.latents.codes.requires_grad
    torch.autograd.backward(list(played.losses.values()))
    weight = game.discriminator.weight
    assert isinstance(weight, nn.Parameter)
    torch.testing.assert_close(weight.grad, (1.5**2 * played.turn.latents.codes**2 / 2).mean())


def test_the_penalty_asks_for_the_sampler() -> None:
    images = torch.zeros(3, 1, 1, 1)
    game = Game(nn.Identity(), nn.Identity(), Wasserstein())
    with pytest.raises(ValueError, match="set latent_sampler=logan"):
        LatentDistance(weight=0.1).penalty(game, a_turn(images, images))


def test_moved_latents_keep_their_draws_row_by_row() -> None:
    start = latents(codes_of(4))
    moved = Moved(start.codes + 1, start.labels, start.codes)
    assert torch.equal(moved.rows(slice(2, 4)).drawn, start.codes[2:])
    both = Moved.cat([moved, moved])
    assert len(both) == 8 == len(both.drawn)
    assert isinstance(moved, Latents)


def test_the_preset_trains_and_scores_the_prior(experiment: Callable[..., Experiment]) -> None:
    tiny = experiment(*TINY, "experiment=logan")
    assert not tiny.gan.latent_sampler.refines_evaluation
    steps = list(train(tiny))
    assert all(step.losses["generator"]["latent_distance"] > 0 for step in steps)


def test_a_penalty_of_no_weight_changes_nothing_else(experiment: Callable[..., Experiment]) -> None:
    beside = experiment(*TINY, "experiment=logan", "regularizer.latent_distance.weight=0.0")
    without = experiment(*TINY, "latent_sampler=logan")
    for first, second in zip(train(without), train(beside), strict=True):
        assert torch.equal(first.losses["generator"]["adversarial"], second.losses["generator"]["adversarial"])
