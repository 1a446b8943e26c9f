"""One turn of each player: values in, named losses out; no weight is updated here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

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

    def parts(self, count: int) -> list["Batch"]:
        """As many equal parts, in order."""
        if count == 1:
            return [self]
        real, labelled = (
            [examples.rows(slice(n * len(examples) // count, (n + 1) * len(examples) // count)) for n in range(count)]
            for examples in (self.real, self.labelled)
        )
        return [Batch(*part) for part in zip(real, real if self.labelled is self.real else labelled, strict=True)]


@dataclass(frozen=True)
class Played:
    """The losses to minimise, and the turn's values; its outputs are those of all processes that train together."""

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
    turn = Turn(real, latents, fake, *game.both_outputs(real, fake), batch.labelled)
    whole = everywhere(game, turn)
    assert whole.real_logits is not None
    with game.engine.common_draws():
        losses = {"adversarial": game.objective.discriminator_loss(whole.real_logits, whole.fake_logits)}
    return Played(losses | supervised(game, whole) | terms("discriminator", rules, turn, number, step), whole)


def classifier_turn(rules: Rules, batch: Batch, number: int, step: int) -> Played:
    """The losses of a discriminator that has no generator beside it."""
    game, real = rules.game, batch.real
    outputs = game.outputs(real)
    fake = real.rows(slice(0))
    latents = Latents(fake.images.flatten(1), fake.labels)
    turn = Turn(real, latents, fake, outputs, Outputs(outputs.logits[:0]), batch.labelled)
    whole = everywhere(game, turn)
    return Played(supervised(game, whole) | terms("discriminator", rules, turn, number, step), whole)


def generator_turn(rules: Rules, batch: Batch, number: int, step: int) -> Played:
    """The generator's losses on as many fresh latents as there are real images."""
    game, real = rules.game, batch.real
    latents = rules.latent_sampler.for_generator(game, real)
    fake = game.generate(latents)
    turn = Turn(real, latents, fake, game.real_outputs(real), game.outputs(fake), batch.labelled)
    whole = everywhere(game, turn)
    real_labels, fake_labels = real.labels, fake.labels
    if game.conditional:
        real_labels, fake_labels = map(game.rows_everywhere, (real_labels, fake_labels))
    with game.engine.common_draws():
        loss = game.generator_loss(whole.real_logits, whole.fake_logits, real_labels, fake_labels)
    losses = {game.objective.name_of_loss: loss}
    return Played(losses | terms("generator", rules, turn, number, step), whole)


def everywhere(game: Game, turn: Turn) -> Turn:
    """The turn with outputs for the images of all processes that train together; images and latents are its own."""
    real, fake = turn.real_outputs, turn.fake_outputs
    if real is None:
        return replace(turn, fake_outputs=game.everywhere(fake)[0])
    if not len(turn.fake):
        return replace(turn, real_outputs=game.everywhere(real)[0])
    real, fake = game.everywhere(real, fake)
    return replace(turn, real_outputs=real, fake_outputs=fake)


def supervised(game: Game, turn: Turn) -> Losses:
    """The objective's loss on labelled images, if it has one; images that were judged are not judged again."""
    if turn.labelled is turn.real and turn.real_logits is not None:
        loss = game.objective.supervised_loss(turn.real_logits, game.rows_everywhere(turn.real.labels))
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
