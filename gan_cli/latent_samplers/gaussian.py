"""The standard normal prior."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Codes, Scores


@dataclass(frozen=True, kw_only=True)
class Gaussian(LatentSampler):
    """Independent N(0, 1) coordinates; raises ValueError if there is not at least one."""

    latent_dim: Annotated[int, Ge(1)]

    def sample(self, count: int, device: torch.device) -> Codes:
        return torch.randn(count, self.latent_dim, device=device)

    def log_density(self, codes: Codes) -> Scores:
        return -codes.square().sum(1) / 2
