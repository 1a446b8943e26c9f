"""Where latents come from: a prior, which each use of it may refine."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from gan_cli.shapes import Images, Latents

if TYPE_CHECKING:
    from gan_cli.game import Game


class LatentSampler(ABC):
    """A prior, and what each player (and the evaluation) is given in its place.

    `real` is a batch of real images; as many latents are returned, on its device.
    """

    @abstractmethod
    def sample(self, count: int, device: torch.device) -> Latents:
        """`count` draws from the prior, with the global random state of `device`."""

    def for_discriminator(self, game: "Game", real: Images) -> Latents:
        return self.sample(len(real), real.device)

    def for_generator(self, game: "Game", real: Images) -> Latents:
        return self.sample(len(real), real.device)

    def for_evaluation(self, game: "Game", latents: Latents, real: Images) -> Latents:
        """What is scored in place of the prior draws `latents`; `real` is a calibration batch."""
        return latents
