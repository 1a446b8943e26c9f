"""Projected gradient descent on the negative loss, from a random start (Madry et al. 2018, arXiv:1706.06083)."""

from dataclasses import dataclass

import torch

from gan_cli.attacks.attack import within
from gan_cli.attacks.ifgsm import IFGSM
from gan_cli.gradients import normalised, per_row
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class PGD(IFGSM):
    """I-FGSM that begins at a point drawn uniformly from the ball of radius `epsilon` (section 2.1)."""

    def start(self, images: Images) -> Images:
        return within(images, self.epsilon, self.norm)(images + self.epsilon * self.direction(images))

    def direction(self, images: Images) -> Images:
        """Points drawn uniformly from the unit ball of the norm."""
        if self.norm == "sign":
            return 2 * torch.rand_like(images) - 1
        radius = torch.rand(len(images), dtype=images.dtype, device=images.device) ** (1 / images[0].numel())
        return normalised(torch.randn_like(images)) * per_row(radius, images)
