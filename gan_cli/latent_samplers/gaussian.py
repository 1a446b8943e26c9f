"""The standard normal prior."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Codes, Scores


@dataclass(frozen=True, kw_only=True)
class Gaussian(LatentSampler):
    """Independent N(0, 1) coordinates; raises ValueError if there is not at least one."""

    latent_dim: Annotated[int, Ge(1)]

    def sample(self, count: int, device: torch.device) -> Codes:
        return torch.randn(count, self.latent_dim, device=device)

    def in_torch(self) -> str:
        return f"torch.randn(count, {self.latent_dim})"

    def log_density(self, codes: Codes) -> Scores:
        return -codes.square().sum(1) / 2

    def between(
        self, start: Codes, end: Codes, fractions: Float[Tensor, " steps"]
    ) -> Float[Tensor, "batch steps latent"]:
        """On the arc of a great circle (Shoemake 1985; White 2016, arXiv:1609.04468, section 2.1).

        The middle of a straight line is shorter than any draw of a wide prior. Opposite and parallel codes have no
        one arc: between them the line is straight.
        """
        angle = torch.acos(torch.cosine_similarity(start, end).clamp(-1, 1))[:, None, None]
        along = fractions[None, :, None]
        of_start, of_end = (torch.sin(part * angle) / angle.sin() for part in (1 - along, along))
        arc = of_start * start[:, None] + of_end * end[:, None]
        return torch.where(angle.sin() > 1e-3, arc, super().between(start, end, fractions))

    def quantile(self, probabilities: Tensor) -> Tensor:
        return torch.special.ndtri(probabilities)
