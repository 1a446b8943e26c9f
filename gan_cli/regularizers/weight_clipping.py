"""Weight clipping (Arjovsky et al. 2017, arXiv:1701.07875)."""

from dataclasses import dataclass

import torch
from torch import nn

from gan_cli.regularizers.regularizer import Constraint


@dataclass(frozen=True, kw_only=True)
class WeightClipping(Constraint):
    """Keeps every weight and bias of the discriminator in [-limit, limit] after each update (algorithm 1, line 7).

    The buffers of batch norm are left alone. Raises ValueError unless the limit is above 0.
    """

    limit: float

    player = "discriminator"

    def __post_init__(self) -> None:
        if self.limit <= 0:
            raise ValueError(f"limit={self.limit} must be above 0")

    @torch.no_grad()
    def after_update(self, network: nn.Module) -> None:
        for weight in network.parameters():
            weight.clamp_(-self.limit, self.limit)
