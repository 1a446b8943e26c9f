"""One step as a device computes it: turns, updates, moving average; no value is read on the host."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.experiment import Experiment, Player
from gan_cli.feed import Fed, batches
from gan_cli.shapes import Loss, Turn
from gan_cli.turns import Losses


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
    for leaf in leaves:
        leaf.before_step(game.engine.device, step)
    turns = batches(experiment, fed)
    losses: dict[str, Losses] = {}
    scores: dict[str, Loss] = {}
    names: list[tuple[str, str]] = []
    values: list[Tensor] = []
    for player in experiment.players:
        for number in range(step * player.num_turns, (step + 1) * player.num_turns):
            played = player.play(rules, next(turns), number + 1, step)
            for leaf in leaves:
                leaf.after_turn(played.turn)
            names += [(player.name, name) for name in played.losses]
            values.append(update(player, played.losses))
            for bound in rules.bounds.values():
                if bound.player == player.name:
                    bound.after_update(player.network)
        losses[player.name] = {name: loss.detach() for name, loss in played.losses.items()}
        if game.objective.judges and not scores and played.turn.real_logits is not None:
            sides = {"real": played.turn.real_logits, "fake": played.turn.fake_logits}
            scores = {k: game.objective.score(logits.detach()).mean() for k, logits in sides.items() if len(logits)}
    experiment.average.update(decay)
    return Step(step + 1, losses, scores, played.turn.detached(), names, torch.cat(values))


def update(player: Player, losses: Mapping[str, Loss]) -> Tensor:
    """Returns the losses [terms], detached."""
    for parameter in player.parameters:
        parameter.grad = None
    # One backward pass for all terms: across ranks, a separate penalty would be averaged wrongly.
    terms = torch.stack(list(losses.values()))
    terms.sum().backward(inputs=player.parameters)
    player.optimizer.step()
    return terms.detach()
