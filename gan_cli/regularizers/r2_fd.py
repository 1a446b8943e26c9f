"""R2 by finite differences (Mescheder et al. 2018, arXiv:1801.04406; the form of arXiv:2509.24935)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval

from gan_cli.game import Game, Turn
from gan_cli.regularizers.r1_fd import half_squared_difference
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class R2FD(Regularizer):
    """What `R1FD` is of real images, of generated ones: half the squared slope of the score in a random direction.

    Raises ValueError for an epsilon that is not above 0, or a share outside (0, 1].
    """

    epsilon: Annotated[float, Gt(0)]
    share: Annotated[float, Interval(gt=0, le=1)]

    player = "discriminator"

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        return half_squared_difference(game, turn.fake, self.epsilon, self.share)
