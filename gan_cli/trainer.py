"""The training loop: seed, turns, updates, moving average; it yields after every step and does nothing else."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.ema import ramped_up, update_ema
from gan_cli.engine import Copy, Engine
from gan_cli.errors import DivergedError
from gan_cli.experiment import Experiment, Player
from gan_cli.schedule import value_at
from gan_cli.seeding import batch_rows, seed_step
from gan_cli.shapes import Examples, Loss, Turn
from gan_cli.turns import Batch, Losses


@dataclass(frozen=True)
class Step:
    """A finished step, counted from 1: the last losses of each player, mean scores and the last turn, on the device."""

    number: int
    losses: dict[str, Losses]
    scores: dict[str, Loss]
    turn: Turn


def train(experiment: Experiment, first_step: int = 0) -> Iterator[Step]:
    """Yields each step as it finishes; the caller reports, evaluates and saves between them.

    Raises DivergedError for a loss that is not finite: in place of its step on a CPU, on a GPU once the host knows.
    """
    settings, game, rules, leaves = experiment.settings, experiment.game, experiment.rules, experiment.leaves
    watch = Watch(game.engine)
    for step in range(first_step, settings.steps):
        seed_step(settings.seed, rank=game.engine.rank, step=step)
        for leaf in leaves:
            leaf.before_step(game.engine.device)
        batches = real_batches(experiment, step)
        losses: dict[str, Losses] = {}
        scores: dict[str, Loss] = {}
        names: list[tuple[str, str]] = []
        values: list[Tensor] = []
        for player in experiment.players:
            player.set_schedules(step)
            for number in range(step * player.num_turns, (step + 1) * player.num_turns):
                played = player.play(rules, next(batches), number + 1, step)
                for leaf in leaves:
                    leaf.after_turn(played.turn)
                names += [(player.name, name) for name in played.losses]
                values.append(update(player, played.losses))
                for bound in rules.bounds.values():
                    if bound.player == player.name:
                        bound.after_update(player.network)
            losses[player.name] = played.losses
            if not scores and played.turn.real_logits is not None:
                sides = {"real": played.turn.real_logits, "fake": played.turn.fake_logits}
                scores = {k: game.objective.score(logits.detach()).mean() for k, logits in sides.items() if len(logits)}
        decay = ramped_up(value_at(settings.ema_decay, step), step)
        update_ema(experiment.gan.ema_generator, game.generator, decay)
        watch.look(step + 1, names, torch.cat(values))
        yield Step(step + 1, losses, scores, played.turn)


class Watch:
    """Sees every loss of every turn without waiting for the device, which may be some steps behind."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.coming: deque[tuple[int, list[tuple[str, str]], Copy]] = deque()

    def look(self, step: int, names: list[tuple[str, str]], losses: Tensor) -> None:
        """Raises DivergedError for the first loss that is not finite, of this step or of one that has arrived since."""
        self.coming.append((step, names, self.engine.copy_to_host(losses)))
        while self.coming and self.coming[0][2].has_arrived():
            step, names, copy = self.coming.popleft()
            for (player, name), loss in zip(names, copy.values.tolist(), strict=True):
                if not math.isfinite(loss):
                    raise DivergedError(f"diverged: the {player}'s {name} loss is {loss} at step {step}")


def real_batches(experiment: Experiment, step: int) -> Iterator[Batch]:
    """A new real batch for every turn of the step, in order; and one of labelled images, if they have their own.

    Batches are counted in `batch_size` images: a player with a larger batch takes several, truncated to its size.
    """
    settings, training_set, labelled = experiment.settings, experiment.training_set, experiment.labelled
    taken = {player.name: -(-player.batch_size // settings.batch_size) for player in experiment.players}
    batch = step * sum(player.num_turns * taken[player.name] for player in experiment.players)

    def augmented(real: Examples) -> Examples:
        return real.with_images(experiment.dataset.augment(real.images))

    for player in experiment.players:
        for _ in range(player.num_turns):
            numbers = range(batch, batch + taken[player.name])
            rows = [batch_rows(len(training_set), settings.batch_size, settings.seed, number) for number in numbers]
            real = augmented(training_set.batch(torch.cat(rows)[: player.batch_size]))
            if labelled is None:
                yield Batch(real, real)
            else:
                size = min(settings.labelled_batch_size or 0, len(labelled))
                chosen = labelled[batch_rows(len(labelled), size, settings.seed, batch)]
                yield Batch(real, augmented(training_set.batch(chosen)))
            batch += taken[player.name]


def update(player: Player, losses: Mapping[str, Loss]) -> Tensor:
    """Returns the losses [terms], detached."""
    player.optimizer.zero_grad(set_to_none=True)
    # One backward pass for all terms: across ranks, a separate penalty would be averaged wrongly.
    terms = torch.stack(list(losses.values()))
    terms.sum().backward(inputs=list(player.network.parameters()))
    player.optimizer.step()
    return terms.detach()
