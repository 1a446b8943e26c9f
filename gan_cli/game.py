"""The game of two networks, and the only calls of them: labels, precision, augmentation and counts are handled here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.augmentations.none import NoAugmentation
from gan_cli.engine import Engine
from gan_cli.isolation import frozen_buffers, random_stream
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Examples, Latents, Logits, Loss, Scores, Turn

__all__ = ["Game", "Passes", "Turn"]


@dataclass
class Passes:
    """The number of images passed through each network, and of codes that a gradient is taken with respect to."""

    generator: int = 0
    discriminator: int = 0
    gradient: int = 0


@dataclass(frozen=True)
class Game:
    """Two networks and their objective; nothing else calls a network."""

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    augmentation: Augmentation = NoAugmentation()
    engine: Engine = Engine()
    passes: Passes = field(default_factory=Passes)

    def generate(self, latents: Latents) -> Examples:
        """The generator's images, with the labels of the latents."""
        self.passes.generator += len(latents)
        self.passes.gradient += len(latents) * (latents.codes.requires_grad and torch.is_grad_enabled())
        with self.engine.computing():
            images = self.generator(latents.codes)
        return Examples(self.engine.returned(images), latents.labels)

    def judge(self, shown: Examples) -> Logits:
        """The discriminator's raw outputs for the augmented images."""
        self.passes.discriminator += len(shown)
        with self.engine.computing():
            logits = self.discriminator(self.augmentation(shown.images))
        return self.engine.returned(logits)

    def score(self, shown: Examples) -> Scores:
        """One number for each image: how real the discriminator judges it to be."""
        return self.objective.score(self.judge(shown))

    def discriminator_loss(self, real: Examples, fake: Examples) -> Loss:
        return self.objective.discriminator_loss(self.judge(real), self.judge(fake))

    def real_logits(self, real: Examples | None) -> Logits | None:
        """The logits of real images for the generator's loss, without a gradient; None if the objective reads none."""
        if not self.objective.generator_reads_real:
            return None
        if real is None:
            raise ValueError(f"the generator's loss of {type(self.objective).__name__} reads real images")
        with torch.no_grad():
            return self.judge(real)

    def generator_loss_against(self, real: Examples | None) -> Callable[[Latents], Loss]:
        """The generator's adversarial loss as a function of latents; the real images are judged only once."""
        real_logits = self.real_logits(real)
        return lambda latents: self.objective.generator_loss(real_logits, self.judge(self.generate(latents)))

    @contextmanager
    def isolated(self, key: str) -> Iterator[None]:
        """Inside, both networks keep their buffers, and random draws come from a separate stream that `key` selects."""
        with self.random_stream(key), frozen_buffers(self.generator, self.discriminator):
            yield

    @contextmanager
    def random_stream(self, key: str) -> Iterator[None]:
        with random_stream(key, self.engine):
            yield
