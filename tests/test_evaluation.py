"""What is scored depends on a seed and an image's number alone, and scoring disturbs nothing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from gan_cli import evaluation
from gan_cli.augmentations import Augmentation, NoAugmentation
from gan_cli.engine import Engine
from gan_cli.errors import DivergedError
from gan_cli.evaluation import Generated, generate, num_joined, score_seeds
from gan_cli.experiment import GAN, Experiment
from gan_cli.game import Game
from gan_cli.metrics.metrics import Protocol, Scorer, Subject
from gan_cli.seeding import mix
from gan_cli.shapes import Images, Latents, unlabelled
from gan_cli.trainer import train
from gan_cli.work import listening

from .conftest import TINY, TINY_MLP
from .values import scores_of

Build = Callable[..., Experiment]


def images(gan: GAN, count: int, seed: int = 0) -> torch.Tensor:
    return generate(gan, count, seed, None, torch.uint8).values


def test_image_n_is_the_same_however_many_are_made(experiment: Build) -> None:
    gan = experiment(*TINY).gan
    many = images(gan, 600)
    assert many.shape == (600, 1, 16, 16)
    torch.rand(3)  # whatever the random state was
    assert torch.equal(images(gan, 300), many[:300])
    assert torch.equal(images(gan, 1), many[:1])
    assert not torch.equal(images(gan, 300, seed=1), many[:300])
    assert not torch.equal(many[:256], many[256:512])


class Brightness(Scorer):
    """The mean of the stored images, and what only some seeds have."""

    leading, headlines, directions = "mean", ("mean",), {"mean": "lower"}
    protocol: ClassVar[Protocol] = {}  # type: ignore[assignment]

    def score(self, subject: Subject) -> dict[str, float]:
        odd = math.inf if subject.seed == 4 else 1.0
        return {"mean": subject.images.float().mean().item(), "odd": odd} | ({"rare": 1.0} if subject.seed == 3 else {})

    def floor(self) -> dict[str, float]:
        return {}


def test_scores_are_means_over_evaluation_seeds(experiment: Build) -> None:
    """Of images of other latents with the same labels; what one seed lacks has no mean."""
    gan = experiment(*TINY, "conditioning=concat").gan
    scored = score_seeds(gan, Brightness(), range(3, 6), 20, None, torch.uint8, num_drawn=30)
    each = [images(gan, 20, seed).float().mean().item() for seed in (3, 4, 5)]
    assert len(set(each)) == 3
    assert scored.repeats == {"mean": each}
    assert scored.metrics == {"mean": pytest.approx(sum(each) / 3)}
    assert torch.equal(scored.made.values, images(gan, 30, 3))
    labels = [generate(gan, 20, seed, None, torch.uint8).labels for seed in (3, 4)]
    assert torch.equal(*labels)
    one = score_seeds(gan, Brightness(), [3], 20, None, torch.uint8)
    assert (one.metrics, one.repeats) == ({"mean": each[0], "odd": 1.0, "rare": 1.0}, {})


def test_the_training_batch_size_does_not_matter(experiment: Build) -> None:
    assert torch.equal(images(experiment(*TINY).gan, 10), images(experiment(*TINY, "batch_size=8").gan, 10))


def test_the_moving_average_is_what_is_scored(experiment: Build) -> None:
    tiny = experiment(*TINY, "ema_decay=0.9")
    before = images(tiny.gan, 10)
    with torch.no_grad():
        for parameter in tiny.game.generator.parameters():
            parameter.add_(1.0)
    assert torch.equal(images(tiny.gan, 10), before)


@pytest.mark.parametrize("regularizer", ["r1", "spectral_norm"])
def test_scoring_leaves_no_trace(experiment: Build, regularizer: str) -> None:
    disturbed, undisturbed = (experiment(*TINY, f"regularizer={regularizer}") for _ in range(2))
    for first, second in zip(train(disturbed), train(undisturbed), strict=True):
        images(disturbed.gan, 5)
        scores_of(disturbed.gan)(torch.zeros(2, 1, 16, 16))
        for player in ("discriminator", "generator"):
            assert torch.equal(first.losses[player]["adversarial"], second.losses[player]["adversarial"])
    for name, part in disturbed.gan.parts().items():
        for key, value in part.state_dict().items():
            assert torch.equal(value, undisturbed.gan.parts()[name].state_dict()[key]), f"{name} {key}"
    assert disturbed.game.discriminator.training


def test_blocks_differ_and_the_averages_own_statistics_are_used(experiment: Build) -> None:
    gan = experiment(*TINY).gan
    assert not any(module.training for module in gan.ema_generator.modules())
    with gan.at_rest() as game:
        assert not game.discriminator.training
        assert game.generator is gan.ema_generator
    assert gan.game.discriminator.training


def test_images_that_are_not_finite_are_not_scored(experiment: Build) -> None:
    toy = [*TINY_MLP, "model=mlp", "dataset=grid3", "dataset.points_per_mode=8", "latent_dim=2"]
    settings = ["latent_sampler=ddls", "latent_sampler.steps=4", "latent_sampler.step_size=1e38"]
    tiny = experiment(*toy, *settings)
    with pytest.raises(DivergedError, match="not finite"):
        generate(tiny.gan, 3, 0, tiny.gan.calibration(tiny.training_set), torch.float32)


def test_what_images_cost_is_counted(experiment: Build) -> None:
    made = generate(experiment(*TINY).gan, 5, 0, None, torch.uint8)
    assert (made.cost.generator_passes, made.cost.discriminator_passes, made.cost.gradient_calls) == (1, 0, 0)
    assert made.refined.codes.shape == (5, 128)
    searched = experiment(*TINY, "latent_sampler=advlat_z", "latent_sampler.steps=3").gan
    made = generate(searched, 5, 0, None, torch.uint8)
    assert (made.cost.generator_passes, made.cost.discriminator_passes, made.cost.gradient_calls) == (4, 3, 3)
    again = generate(searched, 5, 0, None, torch.uint8)
    assert again.cost.generator_passes == 4  # counts start anew, whatever was asked of the game before


TOY = [*TINY_MLP, "model=mlp", "dataset=ring", "dataset.points_per_mode=500", "latent_dim=2"]


def chains(experiment: Build, count: int, *settings: str, model: Sequence[str] = TOY) -> Generated:
    tiny = experiment(*model, "latent_sampler=ddls", "latent_sampler.steps=5", *settings)
    return generate(tiny.gan, count, 0, tiny.gan.calibration(tiny.training_set), tiny.dataset.stored)


@pytest.mark.parametrize(
    "settings", [[], pytest.param(["latent_sampler.calibration=logistic"], marks=pytest.mark.slow)]
)
def test_a_chain_is_the_same_however_many_run_at_once(
    experiment: Build, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = chains(experiment, 600, *settings).refined.codes
    monkeypatch.setattr(evaluation, "num_at_once", lambda values, device: 256)
    alone = chains(experiment, 600, *settings).refined.codes
    torch.testing.assert_close(joined, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(chains(experiment, 260, *settings).refined.codes, alone[:260], atol=1e-5, rtol=0)
    assert (alone[:256] - alone[256:512]).abs().mean() > 0.1


def test_blocks_are_joined_where_their_images_are_small(experiment: Build) -> None:
    def joined(*overrides: str) -> int:
        gan = experiment(*overrides, "latent_sampler=ddls").gan
        with gan.at_rest() as game:
            return num_joined(gan.latent_sampler.fitted(game, None), game)

    assert joined(*TOY) == 16
    assert joined(*TINY) == 1  # on a CPU


@pytest.mark.parametrize("model", [TOY, pytest.param(TINY, marks=pytest.mark.slow)])
def test_a_joined_chain_draws_what_its_block_draws_alone(experiment: Build, model: list[str]) -> None:
    """Each block's law: its seed, then the prior's draws, then the noise of every step."""
    made = chains(experiment, 512, model=model)
    gan = experiment(*model, "latent_sampler=ddls", "latent_sampler.steps=5").gan
    with gan.at_rest() as game:
        for number in range(2):
            torch.manual_seed(mix("evaluation", 0, number))
            start = Latents(gan.latent_sampler.sample(256, torch.device("cpu")), unlabelled(256))
            found = gan.latent_sampler.for_evaluation(game, start, None).codes
            torch.testing.assert_close(made.refined.codes[256 * number :][:256], found, atol=1e-5, rtol=0)


SLOW_SAMPLERS = {
    "ddls": ["latent_sampler.steps=5"],
    "advlat_z": ["latent_sampler.steps=5"],
    "mh": ["latent_sampler.chain_length=5"],
    "drs": ["latent_sampler.num_burn_in=300"],
}


@pytest.mark.parametrize("sampler", SLOW_SAMPLERS)
def test_a_sampler_says_what_it_costs_before_it_starts(experiment: Build, sampler: str) -> None:
    gan = (tiny := experiment(*TOY, f"latent_sampler={sampler}", *SLOW_SAMPLERS[sampler])).gan
    made = generate(gan, 512, 0, gan.calibration(tiny.training_set), torch.float32)
    counted, told = made.cost.discriminator_passes * 512, gan.latent_sampler.passes(512)
    assert told == {"ddls": 2560, "advlat_z": 2560, "mh": 2560, "drs": 812}[sampler]
    if sampler in ("ddls", "advlat_z"):
        assert counted == told
    else:
        assert counted >= told
    assert experiment(*TOY).gan.latent_sampler.passes(512) == 0


def test_only_wanted_chains_run_and_progress_says_how_many_passes_they_take(
    experiment: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(evaluation, "PASSES_TOLD", 1500)
    with listening(told.append):
        made = chains(experiment, 300)
    assert told[0] == "sampling images by 0.0 million passes of both networks, block 1/1"
    assert (made.cost.gradient_calls, made.cost.generator_passes) == (5, 6)
    assert len(made.values) == len(made.refined.codes) == len(made.labels) == 300
    told.clear()
    with listening(told.append):
        chains(experiment, 299)
    assert told[0] == "sampling images, block 1/1"


def test_calibration_is_spread_over_the_data_and_only_where_it_is_read(experiment: Build) -> None:
    toy = [*TINY_MLP, "model=mlp", "dataset=ring", "dataset.points_per_mode=500", "latent_dim=2"]
    plain = experiment(*toy)
    assert plain.gan.calibration(plain.training_set) is None
    tiny = experiment(*toy, "latent_sampler=mh")
    real = tiny.gan.calibration(tiny.training_set)
    assert real is not None
    assert real.images.shape == (1000, 2, 1, 1)
    assert tiny.training_set.modes is not None
    nearest = torch.cdist(real.images.flatten(1), tiny.training_set.modes.centers).argmin(1)
    assert nearest.bincount().tolist() == [125] * 8


class Black(Augmentation):
    """Shows nothing of any image."""

    def __call__(self, images: Images) -> Images:
        return torch.full_like(images, -1.0)


def test_what_is_scored_is_not_augmented(experiment: Build) -> None:
    gan = experiment(*TINY).gan
    game = gan.game
    augmented = GAN(
        Game(game.generator, game.discriminator, game.objective, Black()), gan.ema_generator, gan.latent_sampler
    )
    shown = torch.rand(4, 1, 16, 16)
    assert torch.equal(scores_of(augmented)(shown), scores_of(gan)(shown))
    with augmented.at_rest() as rested:
        assert isinstance(rested.augmentation, NoAugmentation)


def test_images_are_kept_in_one_place_however_memory_fills(experiment: Build) -> None:
    """Room is asked for once, for all images: a device that fills while they are made does not part them."""
    asked: list[int] = []

    class Filling(Engine):
        def holds(self, num_bytes: int) -> bool:
            asked.append(num_bytes)
            return len(asked) == 1

    tiny = experiment(*TINY)
    gan = replace(tiny.gan, game=replace(tiny.game, engine=Filling()))
    fake = generate(gan, 600, seed=0, real=None, dtype=torch.uint8)
    assert len(fake.values) == 600
    assert asked == [2 * 600 * 16 * 16]
