from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch.nn.functional import normalize

from gan_cli.latent_samplers import LatentSampler
from gan_cli.shapes import Codes


@dataclass(frozen=True, kw_only=True)
class Sphere(LatentSampler):
    """Uniform on the sphere of radius sqrt(latent_dim) (Karras et al. 2018, arXiv:1710.10196)."""

    latent_dim: Annotated[int, Ge(1)]

    def sample(self, count: int, device: torch.device) -> Codes:
        return self.latent_dim**0.5 * normalize(torch.randn(count, self.latent_dim, device=device))
