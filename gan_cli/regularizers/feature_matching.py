"""Feature matching (Salimans et al. 2016, arXiv:1606.03498, section 3.1), for the generator."""

from dataclasses import dataclass
from typing import Literal

import torch

from gan_cli.game import Game, Turn
from gan_cli.networks import last_linear
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Regularizer):
    """How far the mean features of generated images are from those of real ones.

    The features are what the discriminator's last linear layer reads. The distance is, by `form`, `l1`, the mean
    absolute difference, as in the authors' code, or `l2`, the squared Euclidean distance, as in the paper. Raises
    ValueError for a discriminator without a linear layer.
    """

    form: Literal["l1", "l2"]

    player = "generator"
    compares_images = True

    def check(self, game: Game) -> None:
        last_linear(game.discriminator)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        with torch.no_grad():
            real = game.features(turn.real)
        fake, real = map(game.rows_everywhere, (game.features(turn.fake), real))
        difference = fake.mean(0) - real.mean(0)
        return difference.abs().mean() if self.form == "l1" else difference.square().sum()
