"""The standard normal prior."""

from dataclasses import dataclass

import torch

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Codes, Scores


@dataclass(frozen=True, kw_only=True)
class Gaussian(LatentSampler):
    """Independent N(0, 1) coordinates; raises ValueError if there is not at least one."""

    latent_dim: int

    def __post_init__(self) -> None:
        check_dim(self.latent_dim)

    def sample(self, count: int, device: torch.device) -> Codes:
        return torch.randn(count, self.latent_dim, device=device)

    def log_density(self, codes: Codes) -> Scores:
        return -codes.square().sum(1) / 2


def check_dim(latent_dim: int) -> None:
    if latent_dim < 1:
        raise ValueError(f"latent_dim={latent_dim} must be at least 1")
