"""The two players, the objective they play for, and what one turn has on the table."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Images, Labels, Latents, Logits, Loss, Scores


@dataclass(frozen=True)
class Game:
    generator: nn.Module
    discriminator: nn.Module
    objective: Objective

    def generator_loss(self, real: Images, fake: Images) -> Loss:
        """The generator's adversarial loss on `fake`; `real` is scored only if the objective reads it."""
        return self.generator_loss_against(real)(fake)

    def generator_loss_against(self, real: Images) -> Callable[[Images], Loss]:
        """The generator's adversarial loss as a function of fake images, the real ones scored once and for all.

        Real images carry no gradient to the generator.
        """
        real_logits: Logits | None = None
        if self.objective.generator_reads_real:
            with torch.no_grad():
                real_logits = self.discriminator(real)

        def loss(fake: Images) -> Loss:
            fake_logits: Logits = self.discriminator(fake)
            return self.objective.generator_loss(fake_logits[:0] if real_logits is None else real_logits, fake_logits)

        return loss

    def score(self, images: Images) -> Scores:
        return self.objective.score(self.discriminator(images))


@dataclass(frozen=True)
class Turn:
    """One turn's tensors: the real batch with its labels, and the generator's answer to `latents`."""

    real: Images
    labels: Labels
    latents: Latents
    fake: Images
