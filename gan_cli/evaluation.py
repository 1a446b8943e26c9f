"""What the moving average of a generator makes of latents that depend on a seed and their number alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from gan_cli.data import encode
from gan_cli.errors import DivergedError
from gan_cli.experiment import Players
from gan_cli.game import Game
from gan_cli.seeding import mix
from gan_cli.shapes import Images, Latents, Scores, Stored

BLOCK = 256  # images made at a time; fixed, so that what is made depends on no batch size


@contextmanager
def judging(players: Players) -> Iterator[Game]:
    """The game as it is scored: the averaged generator, and the discriminator's statistics at rest."""
    training = players.game.discriminator.training
    players.game.discriminator.eval()
    try:
        yield Game(players.ema_generator, players.game.discriminator, players.game.objective)
    finally:
        players.game.discriminator.train(training)


@dataclass(frozen=True)
class SamplingCost:
    """What images cost: seconds in all; passes, the one that makes the image included, and gradient calls of each."""

    seconds: float
    generator_passes: float
    discriminator_passes: float
    gradient_calls: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Generated:
    """Images as real ones are stored, and the latents they were made from, on the CPU."""

    values: Stored
    latents: Latents
    cost: SamplingCost


def generate(players: Players, count: int, seed: int, real: Images, dtype: torch.dtype) -> Generated:
    """Images number 0 to `count` of the given seed, stored as real ones are.

    `real` is a calibration batch for latent samplers that read one. Raises DivergedError for images that are
    not finite.
    """
    values, chosen, started = [], [], time.perf_counter()
    with judging(players) as game, counting(game) as passes:
        torch.manual_seed(mix("fit", seed))
        sampler = players.latent_sampler.fitted(game, real)
        for block in range(-(-count // BLOCK)):
            torch.manual_seed(mix("evaluation", seed, block))
            prior = sampler.sample(BLOCK, players.device)
            latents = sampler.for_evaluation(game, prior, real)
            with torch.no_grad():
                images = game.generator(latents)
            if not images.isfinite().all():
                raise DivergedError("generated images are not finite: the generator or its latent sampler diverged")
            values.append(encode(images, dtype).cpu())
            chosen.append(latents.cpu())
    made = len(values) * BLOCK
    return Generated(
        values=torch.cat(values)[:count],
        latents=torch.cat(chosen)[:count],
        cost=SamplingCost(
            seconds=time.perf_counter() - started,
            generator_passes=passes["generator"] / made,
            discriminator_passes=passes["discriminator"] / made,
            gradient_calls=passes["gradient"] / made,
        ),
    )


@contextmanager
def counting(game: Game) -> Iterator[dict[str, int]]:
    """Counts the images that pass through each player, and the latents among them that a gradient is taken at."""
    passes = {"generator": 0, "discriminator": 0, "gradient": 0}

    def generator(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        passes["generator"] += len(inputs[0])
        passes["gradient"] += len(inputs[0]) * (inputs[0].requires_grad and torch.is_grad_enabled())

    def discriminator(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        passes["discriminator"] += len(inputs[0])

    hooks = [
        game.generator.register_forward_pre_hook(generator),
        game.discriminator.register_forward_pre_hook(discriminator),
    ]
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


def scoring(players: Players) -> Callable[[Images], Scores]:
    """The discriminator's score of images on the CPU, without a gradient."""

    def score(images: Images) -> Scores:
        with judging(players) as game, torch.no_grad():
            return game.score(images.to(players.device)).cpu()

    return score
