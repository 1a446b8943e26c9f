"""One step as a device computes it: turns, updates, moving average; no value is read on the host."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.experiment import Experiment, Player
from gan_cli.feed import Fed, batches
from gan_cli.shapes import Loss, Turn
from gan_cli.turns import Batch, Losses, Played


@dataclass(frozen=True)
class Step:
    """A finished step, counted from 1: the last losses of each player, mean scores and the last turn, on the device.

    `terms` are all losses of every turn, `names` their players and names.
    """

    number: int
    losses: dict[str, Losses]
    scores: dict[str, Loss]
    turn: Turn
    names: list[tuple[str, str]]
    terms: Tensor


def iteration(experiment: Experiment, step: int, fed: Fed, decay: float | Tensor) -> Step:
    """All turns and updates of one step, and the moving average: what a device computes, with no look at a value.

    What changes from step to step is in the arguments, in the optimizers' settings and in the state of the random
    generators; `step` only numbers the turns.
    """
    game, rules, leaves = experiment.game, experiment.rules, experiment.leaves
    with game.engine.common_draws():
        for leaf in leaves:
            leaf.before_step(game.engine.device, step)
    turns = batches(experiment, fed)
    losses: dict[str, Losses] = {}
    scores: dict[str, Loss] = {}
    names: list[tuple[str, str]] = []
    values: list[Tensor] = []
    for player in experiment.players:
        for number in range(step * player.num_turns, (step + 1) * player.num_turns):
            played = take_turn(experiment, player, next(turns), number + 1, step)
            for leaf in leaves:
                leaf.after_turn(played.turn)
            player.optimizer.step()
            for bound in rules.bounds.values():
                if bound.player == player.name:
                    bound.after_update(player.network)
            names += [(player.name, name) for name in played.losses]
            values += played.losses.values()
        losses[player.name] = played.losses
        if game.objective.judges and not scores and played.turn.real_logits is not None:
            sides = {"real": played.turn.real_logits, "fake": played.turn.fake_logits}
            scores = {k: game.objective.score(logits.detach()).mean() for k, logits in sides.items() if len(logits)}
    experiment.average.update(decay)
    return Step(step + 1, losses, scores, played.turn.detached(), names, torch.stack(values))


def take_turn(experiment: Experiment, player: Player, batch: Batch, number: int, step: int) -> Played:
    """Plays it and leaves the gradients in the player's parameters, averaged over the parts of the batch.

    Returns the detached losses and the turn's values, of all processes that train together.
    """
    game, parts = experiment.game, batch.parts(experiment.settings.accumulate)
    player.clear()
    turns, values = list[Turn](), list[Tensor]()
    for place, part in enumerate(parts):
        with game.random_stream(f"part {place}") if len(parts) > 1 else nullcontext():
            played = player.play(experiment.rules, part, number, step)
        values.append(player.differentiate(played.losses, len(parts)))
        turns.append(played.turn if len(parts) == 1 else played.turn.detached())
    losses = values[0] if len(parts) == 1 else torch.stack(values).mean(0)
    gradients = [parameter.grad for parameter in player.parameters if parameter.grad is not None]
    game.engine.ranks.average([*gradients, losses, *experiment.statistics])
    turn = turns[0] if len(parts) == 1 else Turn.cat(turns)
    return Played(dict(zip(played.losses, losses.unbind(), strict=True)), turn)
