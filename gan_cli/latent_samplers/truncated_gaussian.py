"""The truncated normal prior (Brock et al. 2019, arXiv:1809.11096, section 3.1)."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.shapes import Codes, Scores


@dataclass(frozen=True, kw_only=True)
class TruncatedGaussian(LatentSampler):
    """Independent N(0, 1) coordinates, given that each is within `threshold` of zero.

    Raises ValueError if there is not at least one, or unless the threshold is above 0.
    """

    latent_dim: Annotated[int, Ge(1)]
    threshold: Annotated[float, Gt(0)]

    @property
    def half_width(self) -> float:  # type: ignore[override]
        return self.threshold

    @property
    def below(self) -> float:
        """How much of a normal law lies below -threshold."""
        return math.erfc(self.threshold / math.sqrt(2)) / 2

    def sample(self, count: int, device: torch.device) -> Codes:
        """By the inverse of the distribution function: rejection would read on the host whether it is done."""
        return self.quantile(torch.rand(count, self.latent_dim, device=device))

    def in_torch(self) -> str:
        below, end = self.below, self.threshold
        inside = f"{below} + torch.rand(count, {self.latent_dim}) * {1 - 2 * below}"
        return f"torch.special.ndtri({inside}).clamp(-{end}, {end})"

    def log_density(self, codes: Codes) -> Scores:
        return -codes.square().sum(1) / 2

    def quantile(self, probabilities: Tensor) -> Tensor:
        codes = torch.special.ndtri(self.below + probabilities * (1 - 2 * self.below))
        return codes.clamp(-self.threshold, self.threshold)  # what rounding takes beyond
