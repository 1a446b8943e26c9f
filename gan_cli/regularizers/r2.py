"""R2 (Mescheder et al. 2018, arXiv:1801.04406)."""

from dataclasses import dataclass

from gan_cli.game import Game, Turn
from gan_cli.regularizers.r1 import half_squared_slope
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class R2(Regularizer):
    """Half the squared slope of the score at generated images (equation 10); `weight` is the paper's gamma."""

    player = "discriminator"

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        return half_squared_slope(game, turn.fake)
