"""One turn of each player: tensors in, named losses out; nothing here updates a weight."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gan_cli.data import Batch
from gan_cli.game import Game, Turn
from gan_cli.isolation import isolated
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.regularizers.regularizer import Player, Regularizer
from gan_cli.shapes import Loss

Losses = dict[str, Loss]


@dataclass(frozen=True)
class DiscriminatorTurn:
    """The losses to minimise, and the mean score of each side before the update."""

    losses: Losses
    real_score: Loss
    fake_score: Loss


def discriminator_turn(
    game: Game, latent_sampler: LatentSampler, regularizers: Mapping[str, Regularizer], real: Batch, number: int
) -> DiscriminatorTurn:
    """The discriminator's losses on one real batch; the generator's graph is never built.

    `number` counts the player's turns from 1, as in `generator_turn`: lazy regularizers go by it.
    """
    latents = latent_sampler.for_discriminator(game, real.images)
    with torch.no_grad():
        fake = game.generator(latents)
    real_logits, fake_logits = game.discriminator(real.images), game.discriminator(fake)
    losses = {"adversarial": game.objective.discriminator_loss(real_logits, fake_logits)}
    turn = Turn(real.images, real.labels, latents, fake)
    return DiscriminatorTurn(
        losses=losses | penalties("discriminator", regularizers, game, turn, number),
        real_score=game.objective.score(real_logits.detach()).mean(),
        fake_score=game.objective.score(fake_logits.detach()).mean(),
    )


def generator_turn(
    game: Game, latent_sampler: LatentSampler, regularizers: Mapping[str, Regularizer], real: Batch, number: int
) -> Losses:
    """The generator's losses on as many fresh latents as there are real images."""
    latents = latent_sampler.for_generator(game, real.images)
    fake = game.generator(latents)
    losses = {"adversarial": game.generator_loss(real.images, fake)}
    turn = Turn(real.images, real.labels, latents, fake)
    return losses | penalties("generator", regularizers, game, turn, number)


def penalties(player: Player, regularizers: Mapping[str, Regularizer], game: Game, turn: Turn, number: int) -> Losses:
    """Every weighted penalty that is due for this player, by the name it was configured under.

    A lazy one weighs as much more as it comes less often. Whatever passes and draws one needs, the rest of the step
    does not see them.
    """
    losses = {}
    for name, regularizer in regularizers.items():
        if regularizer.player == player and number % regularizer.every == 0:
            with isolated(f"{name} {number}", game.generator, game.discriminator):
                losses[name] = regularizer.every * regularizer.weight * regularizer.penalty(game, turn)
    return losses
