"""Weight clipping (Arjovsky et al. 2017, arXiv:1701.07875)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from gan_cli.regularizers.regularizer import Constraint


@dataclass(frozen=True, kw_only=True)
class WeightClipping(Constraint):
    """Keeps every weight and bias of the discriminator in [-limit, limit] after each update (algorithm 1, line 7).

    The buffers of batch norm are left alone. Raises ValueError unless the limit is above 0.
    """

    limit: Annotated[float, Gt(0)]

    player = "discriminator"

    @torch.no_grad()
    def after_update(self, network: nn.Module) -> None:
        for weight in network.parameters():
            weight.clamp_(-self.limit, self.limit)
