"""One pass of the discriminator over real and generated images: only where it changes nothing, and then nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.experiment import Experiment
from gan_cli.feed import real_batches
from gan_cli.game import Game
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import SpectralNorm

from .conftest import TINY
from .values import examples


class StandardDeviation(nn.Module):
    """A further feature, the same for every image: the standard deviation over the batch."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, features.std(0).mean().expand(len(features), 1)], 1)


def flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), *layers, nn.Flatten(), nn.Linear(16, 1))


def blind(network: nn.Sequential) -> nn.Sequential:
    """Its last layer starts at zero, so that its outputs do not tell what they are computed from."""
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)
    return network


MIXING = StandardDeviation()
NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "plain": (flat, True),
    "dropout": (lambda: flat(nn.Dropout(0.5)), True),
    "instance norm": (lambda: flat(nn.InstanceNorm2d(4, track_running_stats=True)), True),
    "group norm": (lambda: flat(nn.GroupNorm(2, 4)), True),
    "batch norm": (lambda: flat(nn.BatchNorm2d(4)), False),
    "batch norm under zeros": (lambda: blind(flat(nn.BatchNorm2d(4))), False),
    "minibatch deviation": (lambda: nn.Sequential(nn.Flatten(), MIXING, nn.Linear(17, 1)), False),
    "the same under zeros": (lambda: blind(nn.Sequential(nn.Flatten(), MIXING, nn.Linear(17, 1))), False),
}


@pytest.mark.parametrize(
    ("name", "normalised"),
    [*((name, False) for name in NETWORKS), *((name, True) for name in NETWORKS if "zeros" not in name)],
)
def test_who_judges_each_image_alone(name: str, normalised: bool) -> None:
    """And the question leaves weights, buffers and random state as they were."""
    build, alone = NETWORKS[name]
    network = build()
    if normalised:
        SpectralNorm(num_power_iterations=1).impose(network)
    before, random = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    game = Game(nn.Identity(), network, Wasserstein())
    assert game.judges_alone(examples(torch.full((2, 1, 4, 4), 0.5))) is alone
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("overrides", "joined"),
    [
        ([], True),
        (["objective=realness"], True),
        (["conditioning=projection"], True),
        (["conditioning=d2d_ce"], True),
        (["model=dcgan_classic", "dataset.image_size=32"], False),  # batch norm in the discriminator
    ],
)
def test_a_turn_computes_the_same_in_one_pass_and_in_two(
    experiment: Callable[..., Experiment], overrides: list[str], joined: bool
) -> None:
    tiny = experiment(*TINY, *overrides)
    assert tiny.game.joins is joined
    game = tiny.game
    for network in (game.generator, game.discriminator):
        network.double()
    batch = next(real_batches(tiny, 0))
    batch = replace(batch, real=batch.real.with_images(batch.real.images.double()))
    latents = tiny.gan.latent_sampler.for_discriminator(game, batch.real)
    fake = game.generate(latents.with_codes(latents.codes.double()))
    found: list[list[Any]] = []
    for joins in (False, True):
        outputs = replace(game, joins=joins and joined).both_outputs(batch.real, fake)
        values = [value for side in outputs for value in vars(side).values() if value is not None]
        loss = sum((value.sin().sum() for value in values), torch.zeros(()))
        found.append(
            [*values, *torch.autograd.grad(loss, list(game.discriminator.parameters()), materialize_grads=True)]
        )
    for apart, together in zip(*found, strict=True):
        torch.testing.assert_close(apart, together, rtol=1e-10, atol=1e-10)


def test_passes_count_images_either_way() -> None:
    for joins in (False, True):
        game = Game(nn.Identity(), flat(), Wasserstein(), joins=joins)
        game.both_outputs(examples(torch.rand(3, 1, 4, 4)), examples(torch.rand(2, 1, 4, 4)))
        assert game.passes.discriminator == 5
