"""The uniform prior (Radford et al. 2016, arXiv:1511.06434, section 4)."""

from dataclasses import dataclass

import torch

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Latents


@dataclass(frozen=True, kw_only=True)
class Uniform(LatentSampler):
    """Independent coordinates on [-1, 1]; raises ValueError if there is not at least one."""

    latent_dim: int

    def __post_init__(self) -> None:
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim={self.latent_dim} must be at least 1")

    def sample(self, count: int, device: torch.device) -> Latents:
        return torch.rand(count, self.latent_dim, device=device) * 2 - 1
