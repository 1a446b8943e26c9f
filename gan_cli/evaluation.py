"""What the moving average of a generator makes of latents that depend on a seed and their number alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gan_cli.experiment import Players
from gan_cli.game import Game
from gan_cli.seeding import mix
from gan_cli.shapes import Images, Scores, Stored
from gan_cli.table import encode

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


def generate(players: Players, count: int, seed: int, real: Images, dtype: torch.dtype) -> Stored:
    """Images number 0 to `count` of the given seed, stored as real ones are, on the CPU.

    `real` is a calibration batch for latent samplers that need one.
    """
    blocks = []
    with judging(players) as game:
        for block in range(-(-count // BLOCK)):
            torch.manual_seed(mix("evaluation", seed, block))
            prior = players.latent_sampler.sample(BLOCK, players.device)
            latents = players.latent_sampler.for_evaluation(game, prior, real)
            with torch.no_grad():
                blocks.append(encode(game.generator(latents), dtype).cpu())
    return torch.cat(blocks)[:count]


def scoring(players: Players) -> Callable[[Images], Scores]:
    """The discriminator's score of images on the CPU, without a gradient."""

    def score(images: Images) -> Scores:
        with judging(players) as game, torch.no_grad():
            return game.score(images.to(players.device)).cpu()

    return score
