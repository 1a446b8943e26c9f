"""The loop: seed, turns, updates, moving average; it yields after every step and does nothing else."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from gan_cli.data import Batch
from gan_cli.ema import follow
from gan_cli.experiment import Experiment
from gan_cli.regularizers.regularizer import Constraint, Player
from gan_cli.seeding import batch_rows, seed_step
from gan_cli.shapes import Loss
from gan_cli.turns import Losses, discriminator_turn, generator_turn


@dataclass(frozen=True)
class Step:
    """A finished step, counted from 1, with the last losses of each player and mean scores, still on the device."""

    number: int
    losses: dict[Player, Losses]
    scores: dict[str, Loss]


def train(experiment: Experiment, first_step: int = 0) -> Iterator[Step]:
    """Yields each step as it finishes; the caller reports, evaluates and saves between them."""
    players, settings, regularizers = experiment.players, experiment.settings, experiment.regularizers
    game, sampler, constraints = players.game, players.latent_sampler, experiment.constraints
    for step in range(first_step, settings.steps):
        seed_step(settings.seed, rank=0, step=step)
        for optimizer in (experiment.generator_optimizer, experiment.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_factor(step) * optimizer.defaults["lr"]
        batches = real_batches(experiment, step)
        for number in range(step * settings.discriminator_steps, (step + 1) * settings.discriminator_steps):
            turn = discriminator_turn(game, sampler, regularizers, next(batches), number + 1)
            update(game.discriminator, experiment.discriminator_optimizer, turn.losses)
            constrain("discriminator", game.discriminator, constraints)
        for number in range(step * settings.generator_steps, (step + 1) * settings.generator_steps):
            generator_losses = generator_turn(game, sampler, regularizers, next(batches), number + 1)
            update(game.generator, experiment.generator_optimizer, generator_losses)
            constrain("generator", game.generator, constraints)
        follow(players.ema_generator, game.generator, settings.ema_decay)
        yield Step(
            number=step + 1,
            losses={"discriminator": turn.losses, "generator": generator_losses},
            scores={"real": turn.real_score, "fake": turn.fake_score},
        )


def real_batches(experiment: Experiment, step: int) -> Iterator[Batch]:
    """Fresh real images for every turn of the step: one batch, or for the generator as many as make up its own size."""
    settings, table = experiment.settings, experiment.table
    generator_size = settings.generator_batch_size or settings.batch_size
    sizes = [settings.batch_size] * settings.discriminator_steps + [generator_size] * settings.generator_steps
    counts = [math.ceil(size / settings.batch_size) for size in sizes]
    numbers = itertools.count(step * sum(counts))
    for size, count in zip(sizes, counts, strict=True):
        parts = [
            batch_rows(len(table), settings.batch_size, settings.seed, number)
            for number in itertools.islice(numbers, count)
        ]
        batch = table.batch(torch.cat(parts)[:size])
        yield Batch(experiment.dataset.augment(batch.images), batch.labels)


def update(player: nn.Module, optimizer: Optimizer, losses: Losses) -> None:
    optimizer.zero_grad(set_to_none=True)
    # One backward for all terms: across ranks, a penalty on its own would be averaged wrongly.
    torch.stack(list(losses.values())).sum().backward(inputs=list(player.parameters()))
    optimizer.step()


def constrain(player: Player, network: nn.Module, constraints: Iterable[Constraint]) -> None:
    for constraint in constraints:
        if constraint.player == player:
            constraint.after_update(network)
