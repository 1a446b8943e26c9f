"""Mode seeking (Mao et al. 2019, arXiv:1903.05628): different latents should give different images."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class ModeSeeking(Regularizer):
    """Favours a large ratio d_I / d_z of the distances between paired images and between their latents.

    Pairs are the rows i and i + batch / 2 of the generator's turn. Distances are mean absolute differences over the
    batch. The paper asks for the largest ratio; what is minimised is, by `form`, its `inverse`, 1 / (ratio + 1e-5), as
    in the authors' code, or `difference`, -ratio, which has no lower bound.
    """

    form: Literal["inverse", "difference"]

    player = "generator"
    compares_images = True

    def penalty(self, game: Game, turn: Turn) -> Loss:
        image_distance, latent_distance = (
            game.rows_everywhere(distance(*halves(rows))).mean() for rows in (turn.fake.images, turn.latents.codes)
        )
        ratio = image_distance / (latent_distance + torch.finfo(latent_distance.dtype).tiny)
        return 1 / (ratio + 1e-5) if self.form == "inverse" else -ratio


def halves(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The first and second half of the rows; of an odd number the last belongs to neither."""
    half = len(rows) // 2
    return rows[:half], rows[half : 2 * half]


def distance(rows: Tensor, others: Tensor) -> Tensor:
    """The mean absolute difference of each pair of rows, [rows]."""
    return (rows - others).abs().flatten(1).mean(1)
