"""The uniform prior (Radford et al. 2016, arXiv:1511.06434, section 4)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Codes, Scores


@dataclass(frozen=True, kw_only=True)
class Uniform(LatentSampler):
    """Independent coordinates on [-1, 1]; raises ValueError if there is not at least one."""

    latent_dim: Annotated[int, Ge(1)]

    half_width = 1.0

    def sample(self, count: int, device: torch.device) -> Codes:
        return torch.rand(count, self.latent_dim, device=device) * 2 - 1

    def in_torch(self) -> str:
        return f"torch.rand(count, {self.latent_dim}) * 2 - 1"

    def log_density(self, codes: Codes) -> Scores:
        return 0 * codes.sum(1)

    def quantile(self, probabilities: Tensor) -> Tensor:
        return 2 * probabilities - 1
