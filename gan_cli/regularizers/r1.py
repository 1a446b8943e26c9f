"""R1 (Mescheder et al. 2018, arXiv:1801.04406)."""

from dataclasses import dataclass

from gan_cli.game import Game, Turn
from gan_cli.regularizers.gradient_penalty import score_gradient
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Examples, Loss


@dataclass(frozen=True, kw_only=True)
class R1(Regularizer):
    """Half the squared slope of the score at real images (equation 9); `weight` is the paper's gamma."""

    player = "discriminator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        return half_squared_slope(game, turn.real)


def half_squared_slope(game: Game, shown: Examples) -> Loss:
    """Half the squared length of the score's gradient, averaged over the images."""
    return score_gradient(game, shown).square().flatten(1).sum(1).mean() / 2
