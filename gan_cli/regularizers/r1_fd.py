"""R1 by finite differences (Mescheder et al. 2018, arXiv:1801.04406; the form of arXiv:2509.24935)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt, Interval

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Examples, Images, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class R1FD(Regularizer):
    """Half the squared slope of the score at real images in one random direction, without a second derivative.

    Half of ((v(x) - v(x + epsilon n)) / epsilon)^2, n ~ N(0, I), with pixels in [-1, 1] and v the objective's score. As
    epsilon falls its expectation becomes R1, and its variance twice the square of R1 for each image. It is taken at the
    first `share` of the batch.

    Raises ValueError for an epsilon that is not above 0, or a share outside (0, 1].
    """

    epsilon: Annotated[float, Gt(0)]
    share: Annotated[float, Interval(gt=0, le=1)]

    player = "discriminator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        return half_squared_difference(game, turn.real, self.epsilon, self.share)


def half_squared_difference(game: Game, shown: Examples, epsilon: float, share: float) -> Loss:
    """Half the squared difference quotient of the score, averaged over the first `share` of the images."""
    chosen = shown.rows(slice(max(1, round(share * len(shown)))))
    images = chosen.images
    noise = torch.randn_like(images)  # drawn first: both passes then repeat the same draws

    def score(moved: Images) -> Scores:
        with game.random_stream("prediction"):  # the same augmentation, dropout and noise at both
            return game.score(chosen.with_images(moved))

    return ((score(images) - score(images + epsilon * noise)) / epsilon).square().mean() / 2
