"""One turn of each player: values in, named losses out; no weight is updated here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gan_cli.game import Game, Turn
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.regularizers.regularizer import Bound
from gan_cli.shapes import Examples, Loss

Losses = dict[str, Loss]


@dataclass(frozen=True)
class Rules:
    """The game, the sampler and the regularizers of a turn; `bounds` by the names that losses are logged under."""

    game: Game
    latent_sampler: LatentSampler
    bounds: Mapping[str, Bound]


@dataclass(frozen=True)
class Played:
    """The losses to minimise, and the turn's values."""

    losses: Losses
    turn: Turn


PlayTurn = Callable[[Rules, Examples, int, int], Played]


def discriminator_turn(rules: Rules, real: Examples, number: int, step: int) -> Played:
    """The discriminator's losses on one real batch; the generator's graph is never built.

    `number` counts the player's turns from 1, as in `generator_turn`; lazy regularizers use it.
    """
    game = rules.game
    latents = rules.latent_sampler.for_discriminator(game, real)
    with torch.no_grad():
        fake = game.generate(latents)
    real_logits, fake_logits = game.judge(real), game.judge(fake)
    turn = Turn(real, latents, fake, real_logits, fake_logits)
    losses = {"adversarial": game.objective.discriminator_loss(real_logits, fake_logits)}
    return Played(losses | terms("discriminator", rules, turn, number, step), turn)


def generator_turn(rules: Rules, real: Examples, number: int, step: int) -> Played:
    """The generator's losses on as many fresh latents as there are real images."""
    game = rules.game
    latents = rules.latent_sampler.for_generator(game, real)
    fake = game.generate(latents)
    turn = Turn(real, latents, fake, game.real_logits(real), game.judge(fake))
    losses = {"adversarial": game.objective.generator_loss(turn.real_logits, turn.fake_logits)}
    return Played(losses | terms("generator", rules, turn, number, step), turn)


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
