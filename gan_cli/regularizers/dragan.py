"""DRAGAN (Kodali et al. 2017, arXiv:1705.07215)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from gan_cli.game import Game, Turn
from gan_cli.regularizers.gradient_penalty import slope
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Examples, Loss


@dataclass(frozen=True, kw_only=True)
class Dragan(Regularizer):
    """Pulls the slope of the score towards `target` around real images: at each plus noise.

    The noise is `scale` standard deviations of the batch wide: `normal`, as in the paper's text, or `uniform`, as in
    the authors' code, U(0, 1) for each pixel times one U(0, 1) for each image, which only brightens. Raises ValueError
    for a negative scale.
    """

    target: float
    scale: Annotated[float, Ge(0)]
    noise: Literal["normal", "uniform"]

    player = "discriminator"
    compares_images = True

    def penalty(self, game: Game, turn: Turn) -> Loss:
        shown = self.around(turn.real, game.rows_everywhere(turn.real.images).std())
        return (slope(game, shown) - self.target).square().mean()

    def around(self, real: Examples, deviation: Tensor) -> Examples:
        images, width = real.images, self.scale * deviation
        if self.noise == "normal":
            return real.with_images(images + width * torch.randn_like(images))
        noise = torch.rand_like(images) * torch.rand_like(images[:, :1, :1, :1])
        return real.with_images(images + width * noise)
