"""The truncated normal prior (Brock et al. 2019, arXiv:1809.11096, section 3.1)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

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

    def sample(self, count: int, device: torch.device) -> Codes:
        codes = torch.empty(count, self.latent_dim, device=device)
        return nn.init.trunc_normal_(codes, a=-self.threshold, b=self.threshold)

    def log_density(self, codes: Codes) -> Scores:
        return -codes.square().sum(1) / 2

    def quantile(self, probabilities: Tensor) -> Tensor:
        below = torch.special.ndtr(torch.tensor(-self.threshold).to(probabilities))
        return torch.special.ndtri(below + probabilities * (1 - 2 * below))
