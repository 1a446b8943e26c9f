"""The parts of a run: networks, players, regularizers, data and settings."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from gan_cli.augmentations.none import NoAugmentation
from gan_cli.data import ClassLaw, TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.ema import POWER_WIDTHS, MovingAverage, PowerAverage, tensors
from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.networks import reads_batch
from gan_cli.part import Part, Stateful, nested
from gan_cli.ranges import Ranged
from gan_cli.regularizers.regularizer import Bound
from gan_cli.schedule import Schedule, value_at
from gan_cli.shapes import Examples
from gan_cli.turns import PlayTurn, Rules


@dataclass(frozen=True, kw_only=True)
class RunSettings(Ranged):
    """The run's own settings; an interval of 0 means: only at the end.

    A turn of the generator has `generator_batch_size` latents and real images; None means `batch_size`. A supervised
    loss reads `labelled_batch_size` images with a label, at most as many as there are; None means those of the batch.
    A turn computes its batch in `accumulate` equal parts, one after the other.
    """

    steps: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(2)]
    generator_batch_size: Annotated[int, Ge(2)] | None
    labelled_batch_size: Annotated[int, Ge(1)] | None
    accumulate: Annotated[int, Ge(1)]
    discriminator_steps: Annotated[int, Ge(1)]
    generator_steps: Annotated[int, Ge(1)]
    ema_decay: Annotated[float, Ge(0.0), Lt(1.0)] | Schedule
    seed: Annotated[int, Ge(0)]
    log_every: Annotated[int, Ge(0)]
    sample_every: Annotated[int, Ge(0)]
    evaluate_every: Annotated[int, Ge(0)]
    checkpoint_every: Annotated[int, Ge(0)]
    keep_checkpoints: Annotated[int, Ge(1)]
    ema_snapshots_every: Annotated[int, Ge(0)]
    num_eval_images: Annotated[int, Ge(1)] | None
    evaluation_seed: Annotated[int, Ge(0)]
    num_evaluation_seeds: Annotated[int, Ge(1)]
    on_divergence: Literal["stop", "continue"]

    @property
    def evaluation_seeds(self) -> range:
        """The seeds of the latents that are scored, one after the other."""
        return range(self.evaluation_seed, self.evaluation_seed + self.num_evaluation_seeds)

    def images_to_score(self, num_real: int) -> int:
        """As set, else the number of real images, at most 50,000."""
        return self.num_eval_images or min(num_real, 50_000)


@dataclass(frozen=True)
class GAN:
    """Both networks and their latent sampler: enough to sample from a checkpoint. The moving average is scored.

    `class_law` says how often each class is generated; without classes, generated images have no label.
    """

    game: Game
    ema_generator: nn.Module
    latent_sampler: LatentSampler
    class_law: ClassLaw = ClassLaw()

    @contextmanager
    def at_rest(self) -> Iterator[Game]:
        """The game for scoring: the averaged generator, no augmentation, float32, and statistics that do not change."""
        discriminator = self.game.discriminator
        training = discriminator.training
        discriminator.eval()
        try:
            yield Game(
                self.ema_generator, discriminator, self.game.objective, NoAugmentation(), self.game.engine.at_rest
            )
        finally:
            discriminator.train(training)

    def calibration(self, training_set: TrainingSet) -> Examples | None:
        """At most 1,000 real images, evenly spread over the training set, if the latent sampler reads any."""
        if not self.latent_sampler.reads_real(self.game.objective):
            return None
        rows = torch.linspace(0, len(training_set) - 1, min(1000, len(training_set))).long()
        return training_set.batch(rows).to(self.game.engine.device)

    def with_sampler(self, latent_sampler: LatentSampler) -> "GAN":
        return replace(self, latent_sampler=latent_sampler)

    def networks(self) -> dict[str, Stateful]:
        return {
            "generator": self.game.generator,
            "discriminator": self.game.discriminator,
            "ema_generator": self.ema_generator,
        }

    def tensors(self) -> list[Tensor]:
        """The weights and buffers of all networks."""
        networks = (self.game.generator, self.game.discriminator, self.ema_generator)
        return [value for network in networks for value in tensors(network)]

    def parts(self) -> dict[str, Stateful]:
        """Everything with state, by name: three networks, and parts that are modules, by their dotted paths."""
        leaves = {
            "objective": self.game.objective,
            "augmentation": self.game.augmentation,
            "latent_sampler": self.latent_sampler,
        }
        return self.networks() | stateful(leaves)


@dataclass(frozen=True)
class Player:
    """One player of a step: the network it trains, how, how often and on how many images."""

    name: str
    network: nn.Module
    optimizer: Optimizer
    play: PlayTurn
    num_turns: int  # in each step
    batch_size: int
    schedules: Sequence[tuple[int, str, Any]] = ()  # settings that change: which group of parameters, key, value

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    @property
    def rate(self) -> float | None:
        """The learning rate of the last turn, of the first group of parameters; None for an optimizer without one."""
        rate = self.optimizer.param_groups[0].get("lr")
        return None if rate is None else float(rate)

    def clear(self) -> None:
        """Drops all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def differentiate(self, losses: Mapping[str, Tensor], parts: int = 1) -> Tensor:
        """Adds the gradient of the sum of the losses, over the number of parts; returns them [terms], detached."""
        # One backward pass for all terms: across ranks, a separate penalty would be averaged wrongly.
        terms = torch.stack(list(losses.values()))
        total = terms.sum() if parts == 1 else terms.sum() / parts
        total.backward(inputs=self.parameters)
        return terms.detach()

    def set_schedules(self, step: int) -> None:
        for group, key, value in self.schedules:
            settings, present = self.optimizer.param_groups[group], value_at(value, step)
            if isinstance(settings[key], Tensor):  # where a graph reads it
                settings[key].fill_(present)
            else:
                settings[key] = present


@dataclass(frozen=True)
class Experiment:
    gan: GAN
    players: list[Player]
    bounds: dict[str, Bound]
    dataset: Dataset
    training_set: TrainingSet
    settings: RunSettings
    labelled: Tensor | None = None  # the rows of images with a label, if they have batches of their own

    @property
    def game(self) -> Game:
        return self.gan.game

    @property
    def rules(self) -> Rules:
        return Rules(self.gan.game, self.gan.latent_sampler, self.bounds)

    @cached_property
    def average(self) -> MovingAverage:
        return MovingAverage(self.gan.ema_generator, self.game.generator)

    @cached_property
    def statistics(self) -> list[Tensor]:
        """Running statistics, which each process moves by its own part of a batch."""
        modules = [module for network in (self.game.generator, self.game.discriminator) for module in network.modules()]
        return [value for module in modules if isinstance(module, _NormBase) for value in moving_of(module)]

    @cached_property
    def power_networks(self) -> dict[float, nn.Module]:
        """Generators with averages of other widths, by their width: none unless snapshots of them are to be kept."""
        widths = POWER_WIDTHS if self.settings.ema_snapshots_every and self.game.objective.generates else ()
        return {width: copy.deepcopy(self.gan.ema_generator) for width in widths}

    @cached_property
    def power_averages(self) -> list[PowerAverage]:
        return [PowerAverage(network, self.game.generator, width) for width, network in self.power_networks.items()]

    @cached_property
    def leaves(self) -> list[Part]:
        """Every part whose hooks are called during training."""
        roots = [self.game.objective, self.game.augmentation, self.gan.latent_sampler, *self.bounds.values()]
        return [part for root in roots for _, part in nested("", root) if isinstance(part, Part)]

    def parts(self) -> dict[str, Stateful]:
        """The one list of mutable state; randomness is not in it, it follows from (seed, rank, step)."""
        optimizers: dict[str, Stateful] = {f"{player.name}_optimizer": player.optimizer for player in self.players}
        averages = power_parts(self.power_networks)
        return (
            self.gan.parts() | optimizers | averages | stateful({f"regularizer.{k}": v for k, v in self.bounds.items()})
        )

    @property
    def images_per_step(self) -> int:
        """Real images in one step's turns of the first player: the discriminator, if there is one."""
        return self.players[0].batch_size * self.players[0].num_turns

    @property
    def batch_statistics(self) -> int | None:
        """Over how many images networks take statistics of a batch, if these are only a part of it."""
        parts = self.game.engine.ranks.size * self.settings.accumulate
        networks = (self.game.generator, self.game.discriminator)
        return self.settings.batch_size // parts if parts > 1 and any(map(reads_batch, networks)) else None

    @property
    def num_eval_images(self) -> int:
        return self.settings.images_to_score(len(self.training_set))


def moving_of(norm: _NormBase) -> list[Tensor]:
    return [value for value in (norm.running_mean, norm.running_var) if value is not None]


def power_parts(networks: Mapping[float, nn.Module]) -> dict[str, Stateful]:
    """The generators by the names that checkpoints and snapshots have for them."""
    return {f"ema_{width:g}": network for width, network in networks.items()}


def stateful(leaves: Mapping[str, object]) -> dict[str, Stateful]:
    """Every part with a state, by its path; what lies inside one is in that one's state."""
    found: dict[str, Stateful] = {}
    for name, leaf in leaves.items():
        for path, part in nested(name, leaf):
            if isinstance(part, Stateful) and not any(path.startswith(f"{outer}.") for outer in found):
                found[path] = part
    return found
