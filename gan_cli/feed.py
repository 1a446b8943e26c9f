"""The real images of each step: their rows in order, gathered in one go, and shown as one batch for each turn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.experiment import Experiment
from gan_cli.seeding import batch_rows
from gan_cli.shapes import Examples, Labels, Stored
from gan_cli.turns import Batch


@dataclass(frozen=True)
class Fed:
    """The stored images of one step with their labels, on the device, in the order in which its turns read them."""

    values: Stored
    labels: Labels


def rows_of(experiment: Experiment, step: int) -> list[Tensor]:
    """The rows of a new real batch for every turn of the step, each followed by those of labelled images, if they have
    batches of their own; of each this process's part.

    Batches are counted in `batch_size` images: a player with a larger batch takes several, truncated to its size.
    """
    settings, labelled = experiment.settings, experiment.labelled
    count, size, seed = len(experiment.training_set), settings.batch_size, settings.seed
    taken = {player.name: -(-player.batch_size // size) for player in experiment.players}
    batch = step * sum(player.num_turns * taken[player.name] for player in experiment.players)
    found = []
    for player in experiment.players:
        for _ in range(player.num_turns):
            numbers = range(batch, batch + taken[player.name])
            found.append(torch.cat([batch_rows(count, size, seed, number) for number in numbers])[: player.batch_size])
            if labelled is not None:
                found.append(labelled[batch_rows(len(labelled), num_labelled(experiment), seed, batch)])
            batch += taken[player.name]
    ranks = experiment.game.engine.ranks
    return [rows[ranks.part_of(len(rows))] for rows in found]


def num_labelled(experiment: Experiment) -> int:
    """Of the images in a batch of labelled images: as set, or the most that there are and that can be shared out."""
    if experiment.labelled is None:
        return 0
    settings = experiment.settings
    parts = experiment.game.engine.ranks.size * settings.accumulate
    return min(settings.labelled_batch_size or 0, len(experiment.labelled) // parts * parts)


def gathered(experiment: Experiment, step: int) -> Fed:
    return Fed(*experiment.training_set.gathered(torch.cat(rows_of(experiment, step))))


class Feed:
    """`gathered` for one step after the other.

    Where the data does not fit on the device, the images of the next step are gathered and copied while this one is
    computed.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.engine = experiment, experiment.game.engine
        self.coming: dict[int, Callable[[], list[Tensor]]] = {}

    def __call__(self, step: int) -> Fed:
        received = self.coming.pop(step, None)
        return gathered(self.experiment, step) if received is None else Fed(*received())

    def prepare(self, step: int) -> None:
        """To be called when the work of the step before is queued."""
        training_set = self.experiment.training_set
        if step < self.experiment.settings.steps and self.engine.feeds_ahead(training_set.values.device):
            rows = torch.cat(rows_of(self.experiment, step))
            self.coming[step] = self.engine.send([training_set.values[rows], training_set.labels[rows]])


def batches(experiment: Experiment, fed: Fed) -> Iterator[Batch]:
    """One for every turn of the step; images are decoded and augmented when their turn comes."""
    training_set, start, size = experiment.training_set, 0, experiment.game.engine.ranks.size

    def shown(count: int) -> Examples:
        nonlocal start
        part = slice(start, start + count)
        start += count
        real = training_set.decoded(fed.values[part], fed.labels[part])
        return real.with_images(experiment.dataset.augment(real.images))

    for player in experiment.players:
        for _ in range(player.num_turns):
            real = shown(player.batch_size // size)
            yield Batch(real, real if experiment.labelled is None else shown(num_labelled(experiment) // size))


def real_batches(experiment: Experiment, step: int) -> Iterator[Batch]:
    """A new real batch for every turn of the step, in order; and one of labelled images, if they have their own."""
    return batches(experiment, gathered(experiment, step))
