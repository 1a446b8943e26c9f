"""One turn of each player: values in, named losses out; no weight is updated here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gan_cli.game import Game, Turn
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.regularizers.regularizer import Bound
from gan_cli.shapes import Examples, Latents, Loss, Outputs

Losses = dict[str, Loss]


@dataclass(frozen=True)
class Rules:
    """The game, the sampler and the regularizers of a turn; `bounds` by the names that losses are logged under."""

    game: Game
    latent_sampler: LatentSampler
    bounds: Mapping[str, Bound]


@dataclass(frozen=True)
class Batch:
    """The real images of one turn; `labelled` is what a supervised loss reads, the same batch unless it has its own."""

    real: Examples
    labelled: Examples


@dataclass(frozen=True)
class Played:
    """The losses to minimise, and the turn's values."""

    losses: Losses
    turn: Turn


PlayTurn = Callable[[Rules, Batch, int, int], Played]


def discriminator_turn(rules: Rules, batch: Batch, number: int, step: int) -> Played:
    """The discriminator's losses on one real batch; the generator's graph is never built.

    `number` counts the player's turns from 1, as in `generator_turn`; lazy regularizers use it.
    """
    game, real = rules.game, batch.real
    latents = rules.latent_sampler.for_discriminator(game, real)
    with torch.no_grad():
        fake = game.generate(latents)
    real_outputs, fake_outputs = game.both_outputs(real, fake)
    turn = Turn(real, latents, fake, real_outputs, fake_outputs, batch.labelled)
    losses = {"adversarial": game.objective.discriminator_loss(real_outputs.logits, fake_outputs.logits)}
    return Played(losses | supervised(game, turn) | terms("discriminator", rules, turn, number, step), turn)


def classifier_turn(rules: Rules, batch: Batch, number: int, step: int) -> Played:
    """The losses of a discriminator that has no generator beside it."""
    game, real = rules.game, batch.real
    outputs = game.outputs(real)
    fake = real.rows(slice(0))
    latents = Latents(fake.images.flatten(1), fake.labels)
    turn = Turn(real, latents, fake, outputs, Outputs(outputs.logits[:0]), batch.labelled)
    return Played(supervised(game, turn) | terms("discriminator", rules, turn, number, step), turn)


def generator_turn(rules: Rules, batch: Batch, number: int, step: int) -> Played:
    """The generator's losses on as many fresh latents as there are real images."""
    game, real = rules.game, batch.real
    latents = rules.latent_sampler.for_generator(game, real)
    fake = game.generate(latents)
    turn = Turn(real, latents, fake, game.real_outputs(real), game.outputs(fake), batch.labelled)
    loss = game.generator_loss(turn.real_logits, turn.fake_logits, real.labels, fake.labels)
    losses = {game.objective.name_of_loss: loss}
    return Played(losses | terms("generator", rules, turn, number, step), turn)


def supervised(game: Game, turn: Turn) -> Losses:
    """The objective's loss on labelled images, if it has one; images that were judged are not judged again."""
    if turn.labelled is turn.real and turn.real_logits is not None:
        loss = game.objective.supervised_loss(turn.real_logits, turn.real.labels)
    else:
        loss = game.supervised_loss(turn.labelled)
    return {} if loss is None else {"classification": loss}


def terms(player: str, rules: Rules, turn: Turn, number: int, step: int) -> Losses:
    """Every term that is due for this player, by the name in the config.

    Its extra passes and random draws do not affect the rest of the step.
    """
    found = {
        name: bound.term(rules.game, turn, name=name, number=number, step=step)
        for name, bound in rules.bounds.items()
        if bound.player == player
    }
    return {name: term for name, term in found.items() if term is not None}
