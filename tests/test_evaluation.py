"""What is scored depends on a seed and an image's number alone, and scoring disturbs nothing."""

from collections.abc import Callable

import pytest
import torch

from gan_cli.commands.evaluate import with_options
from gan_cli.errors import DivergedError
from gan_cli.evaluation import generate, judging, scoring
from gan_cli.experiment import Experiment, Players
from gan_cli.trainer import train

from .conftest import TINY, TINY_MLP

Build = Callable[..., Experiment]


def images(players: Players, count: int, seed: int = 0) -> torch.Tensor:
    return generate(players, count, seed, torch.empty(0, 1, 16, 16), torch.uint8).values


def test_image_n_is_the_same_however_many_are_made(experiment: Build) -> None:
    players = experiment(*TINY).players
    many = images(players, 600)
    assert many.shape == (600, 1, 16, 16)
    torch.rand(3)  # whatever the random state was
    assert torch.equal(images(players, 300), many[:300])
    assert torch.equal(images(players, 1), many[:1])
    assert not torch.equal(images(players, 300, seed=1), many[:300])
    assert not torch.equal(many[:256], many[256:512])


def test_the_training_batch_size_does_not_matter(experiment: Build) -> None:
    assert torch.equal(images(experiment(*TINY).players, 10), images(experiment(*TINY, "batch_size=8").players, 10))


def test_the_moving_average_is_what_is_scored(experiment: Build) -> None:
    tiny = experiment(*TINY, "ema_decay=0.9")
    before = images(tiny.players, 10)
    with torch.no_grad():
        for parameter in tiny.players.game.generator.parameters():
            parameter.add_(1.0)
    assert torch.equal(images(tiny.players, 10), before)


@pytest.mark.parametrize("regularizer", ["r1", "spectral_norm"])
def test_scoring_leaves_no_trace(experiment: Build, regularizer: str) -> None:
    disturbed, undisturbed = (experiment(*TINY, f"regularizer={regularizer}") for _ in range(2))
    for first, second in zip(train(disturbed), train(undisturbed), strict=True):
        images(disturbed.players, 5)
        scoring(disturbed.players)(torch.zeros(2, 1, 16, 16))
        for player in ("discriminator", "generator"):
            assert torch.equal(first.losses[player]["adversarial"], second.losses[player]["adversarial"])
    for name, part in disturbed.players.parts().items():
        for key, value in part.state_dict().items():
            assert torch.equal(value, undisturbed.players.parts()[name].state_dict()[key]), f"{name} {key}"
    assert disturbed.players.game.discriminator.training


def test_blocks_differ_and_the_averages_own_statistics_are_used(experiment: Build) -> None:
    players = experiment(*TINY).players
    assert not any(module.training for module in players.ema_generator.modules())
    with judging(players) as game:
        assert not game.discriminator.training
        assert game.generator is players.ema_generator


def test_images_that_are_not_finite_are_not_scored(experiment: Build) -> None:
    toy = [*TINY_MLP, "model=mlp", "dataset=grid3", "dataset.points_per_mode=8", "latent_dim=2"]
    settings = ["latent_sampler=ddls", "latent_sampler.steps=4", "latent_sampler.step_size=1e38"]
    tiny = experiment(*toy, *settings)
    with pytest.raises(DivergedError, match="not finite"):
        generate(tiny.players, 3, 0, tiny.players.calibration(tiny.table), torch.float32)


def test_what_images_cost_is_counted(experiment: Build) -> None:
    made = generate(experiment(*TINY).players, 5, 0, torch.empty(0, 1, 16, 16), torch.uint8)
    assert (made.cost.generator_passes, made.cost.discriminator_passes, made.cost.gradient_calls) == (1, 0, 0)
    assert made.latents.shape == (5, 128)
    searched = experiment(*TINY, "latent_sampler=advlat_z", "latent_sampler.steps=3").players
    made = generate(searched, 5, 0, torch.empty(0, 1, 16, 16), torch.uint8)
    assert (made.cost.generator_passes, made.cost.discriminator_passes, made.cost.gradient_calls) == (4, 3, 3)
    assert not any(network._forward_pre_hooks for network in (searched.ema_generator, searched.game.discriminator))


def test_calibration_is_spread_over_the_data_and_only_where_it_is_read(experiment: Build) -> None:
    toy = [*TINY_MLP, "model=mlp", "dataset=ring", "dataset.points_per_mode=500", "latent_dim=2"]
    plain = experiment(*toy)
    assert len(plain.players.calibration(plain.table)) == 0
    tiny = experiment(*toy, "latent_sampler=mh")
    real = tiny.players.calibration(tiny.table)
    assert real.shape == (1000, 2, 1, 1)
    assert tiny.table.modes is not None
    nearest = torch.cdist(real.flatten(1), tiny.table.modes.centers).argmin(1)
    assert nearest.bincount().tolist() == [125] * 8


def test_a_checkpoint_cannot_make_this_machine_download() -> None:
    trained = {"dataset": {"root": "/etc", "download": True}, "latent_sampler": {}}
    options = {"dataset": {"root": None}, "latent_sampler": None}
    assert with_options(trained, options)["dataset"] == {"root": "/etc", "download": False}
    assert trained["dataset"]["download"] is True
