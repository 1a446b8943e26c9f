"""The direction of SAN's last layer has length one (Takida et al. 2024, arXiv:2301.12811)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gan_cli.game import Game
from gan_cli.objectives.san import Direction
from gan_cli.regularizers.regularizer import Constraint


@dataclass(frozen=True, kw_only=True)
class UnitDirection(Constraint):
    """Divides the direction by its length after each update, so that its updates do not become smaller as it grows.

    One that spectral norm computes is left to it. Raises ValueError for a discriminator without a direction.
    """

    player = "discriminator"

    def check(self, game: Game) -> None:
        if not any(isinstance(module, Direction) for module in game.discriminator.modules()):
            raise ValueError("the discriminator has no direction of SAN: set objective=san, or remove this regularizer")

    @torch.no_grad()
    def after_update(self, network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, Direction) and not is_parametrized(module):
                module.weight.div_(module.weight.norm())
