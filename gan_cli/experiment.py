"""Everything a run is made of."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from gan_cli.data import Table
from gan_cli.datasets.dataset import Dataset
from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.regularizers.regularizer import Constraint, Regularizer
from gan_cli.shapes import Images


def at_least(lowest: int) -> Any:
    return field(metadata={"at_least": lowest})


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The run's own numbers; an interval of 0 means: only at the end.

    A turn of the generator has `generator_batch_size` latents and real images, by default as many as `batch_size`.
    From `decay_start` on, both learning rates fall linearly to 0 at the last step.
    """

    steps: int = at_least(1)
    batch_size: int = at_least(2)
    generator_batch_size: int | None = at_least(2)
    discriminator_steps: int = at_least(1)
    generator_steps: int = at_least(1)
    decay_start: int | None = at_least(0)
    ema_decay: float = field(metadata={"at_least": 0.0, "below": 1.0})
    seed: int = at_least(0)
    log_every: int = at_least(0)
    sample_every: int = at_least(0)
    evaluate_every: int = at_least(0)
    checkpoint_every: int = at_least(0)
    keep_checkpoints: int = at_least(1)
    num_eval_images: int | None = at_least(1)
    evaluation_seed: int = at_least(0)

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied with in the step that follows `step` others."""
        if self.decay_start is None or step <= self.decay_start:
            return 1.0
        return (self.steps - step) / (self.steps - self.decay_start)

    @property
    def images_per_step(self) -> int:
        """Real images shown to the discriminator in one step."""
        return self.batch_size * self.discriminator_steps


@runtime_checkable
class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


@dataclass(frozen=True)
class Players:
    """What can make and judge images: enough to sample from a checkpoint. The moving average is what is scored."""

    game: Game
    ema_generator: nn.Module
    latent_sampler: LatentSampler
    device: torch.device

    def calibration(self, table: Table) -> Images:
        """Real images from all over the table, at most 1,000, if the latent sampler reads any; else none."""
        wanted = min(1000, len(table)) if self.latent_sampler.reads_real(self.game.objective) else 0
        return table.batch(torch.linspace(0, len(table) - 1, wanted).long()).images.to(self.device)

    def parts(self) -> dict[str, Stateful]:
        return {
            "generator": self.game.generator,
            "discriminator": self.game.discriminator,
            "ema_generator": self.ema_generator,
        }


@dataclass(frozen=True)
class Experiment:
    players: Players
    regularizers: dict[str, Regularizer]
    constraints: list[Constraint]
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    dataset: Dataset
    table: Table
    settings: RunSettings

    def parts(self) -> dict[str, Stateful]:
        """The one list of mutable state; randomness is none, it follows from (seed, rank, step)."""
        return self.players.parts() | {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    @property
    def num_eval_images(self) -> int:
        """As many as there are real images, at most 50,000, unless said otherwise."""
        return self.settings.num_eval_images or min(len(self.table), 50_000)
