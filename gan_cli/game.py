"""The two players, the objective they play for, and what one turn has on the table."""

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
        fake_logits: Logits = self.discriminator(fake)
        if not self.objective.generator_reads_real:
            return self.objective.generator_loss(fake_logits[:0], fake_logits)
        with torch.no_grad():  # real images carry no gradient to the generator
            real_logits: Logits = self.discriminator(real)
        return self.objective.generator_loss(real_logits, fake_logits)

    def score(self, images: Images) -> Scores:
        return self.objective.score(self.discriminator(images))


@dataclass(frozen=True)
class Turn:
    """One turn's tensors: the real batch with its labels, and the generator's answer to `latents`."""

    real: Images
    labels: Labels
    latents: Latents
    fake: Images
