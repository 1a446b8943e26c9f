from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge

from gan_cli.game import Game, Turn
from gan_cli.regularizers import Regularizer
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class Consistency(Regularizer):
    """A real image and the same image moved by up to `reach` pixels get the same score (Zhang et al. 2020,
    arXiv:1910.12027)."""

    reach: Annotated[int, Ge(1)]

    player = "discriminator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        down, right = torch.randint(-self.reach, self.reach + 1, (2,)).tolist()
        moved = turn.real.with_images(turn.real.images.roll((down, right), dims=(2, 3)))
        return (game.score(turn.real) - game.score(moved)).square().mean()
