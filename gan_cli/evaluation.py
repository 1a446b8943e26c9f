"""Images from the moving average of a generator; their latents depend only on a seed and their number."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from gan_cli.data import encode
from gan_cli.engine import CPU
from gan_cli.errors import DivergedError
from gan_cli.experiment import GAN
from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.seeding import mix
from gan_cli.shapes import Codes, Examples, Images, Latents, Scores, Stored, unlabelled
from gan_cli.work import track

BLOCK = 256  # images made at a time; fixed, so that images do not depend on the batch size


@dataclass(frozen=True)
class SamplingCost:
    """The total seconds; and per image the passes (including the one that makes it) and the gradient calls."""

    seconds: float
    generator_passes: float
    discriminator_passes: float
    gradient_calls: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Generated:
    """Images, stored like real ones, on the engine's device if they fit, and the codes they were made from."""

    values: Stored
    codes: Codes
    cost: SamplingCost


def generate(gan: GAN, count: int, seed: int, real: Examples | None, dtype: torch.dtype) -> Generated:
    """The first `count` images of the given seed, stored like real ones.

    `real` is a calibration batch for latent samplers that read one. Raises DivergedError for images that are
    not finite.
    """
    values: list[Stored] = []
    chosen: list[Codes] = []
    engine, started, home = gan.game.engine, time.perf_counter(), CPU
    with gan.at_rest() as game:
        for latents, stored in blocks(game, gan.latent_sampler, range(-(-count // BLOCK)), seed, real, dtype):
            if not values and engine.holds(2 * count * stored[0].nbytes):  # twice: the blocks, and all in one
                home = engine.device
            values.append(stored.to(home))
            chosen.append(latents.codes.cpu())
        made = len(values) * BLOCK
        cost = SamplingCost(
            seconds=time.perf_counter() - started,
            generator_passes=game.passes.generator / made,
            discriminator_passes=game.passes.discriminator / made,
            gradient_calls=game.passes.gradient / made,
        )
    return Generated(torch.cat(values)[:count], torch.cat(chosen)[:count], cost)


def blocks(
    game: Game, sampler: LatentSampler, numbers: Sequence[int], seed: int, real: Examples | None, dtype: torch.dtype
) -> Iterator[tuple[Latents, Stored]]:
    """The blocks of images with these numbers, each with its latents; a block depends on nothing but its number."""
    torch.manual_seed(mix("fit", seed))
    fitted = sampler.fitted(game, real)
    for number in track(numbers, "sampling images, block"):
        latents = fitted.for_evaluation(game, draw(fitted, number, seed, game), real)
        yield latents, render(game, latents, dtype)


def draw(sampler: LatentSampler, number: int, seed: int, game: Game) -> Latents:
    """The prior's own draws for one block."""
    torch.manual_seed(mix("evaluation", seed, number))
    device = game.engine.device
    return Latents(sampler.sample(BLOCK, device), unlabelled(BLOCK, device))


def render(game: Game, latents: Latents, dtype: torch.dtype) -> Stored:
    """The images of these latents, stored like real ones; raises DivergedError for images that are not finite."""
    with torch.no_grad():
        images = game.generate(latents).images
    if not images.isfinite().all():
        raise DivergedError("generated images are not finite: the generator or its latent sampler diverged")
    return encode(images, dtype)


def scoring(gan: GAN) -> Callable[[Images], Scores]:
    """The discriminator's score of images on the CPU, without a gradient."""

    def score(images: Images) -> Scores:
        shown = Examples(images, unlabelled(len(images))).to(gan.game.engine.device)
        with gan.at_rest() as game, torch.no_grad():
            return game.score(shown).cpu()

    return score


def snapshot(gan: GAN, count: int, seed: int, dtype: torch.dtype) -> Stored:
    """Images as the generator itself makes them while it trains, for a picture; what is not finite is 0."""
    torch.manual_seed(mix("snapshot", seed))
    device = gan.game.engine.device
    latents = Latents(gan.latent_sampler.sample(count, device), unlabelled(count, device))
    with torch.no_grad(), gan.game.isolated("snapshot"):
        images = gan.game.generate(latents).images
    return encode(images.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), dtype).cpu()
