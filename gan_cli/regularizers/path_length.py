"""Path length regularization (Karras et al. 2020, arXiv:1912.04958, section 3.2)."""

from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from gan_cli.game import Game, Turn
from gan_cli.gradients import input_gradient
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.schedule import Schedule
from gan_cli.shapes import Loss, Scores


class PathLength(nn.Module, Regularizer):
    """Steps of equal length in the styles are to change images equally: E (|J^T y| - a)^2, y ~ N(0, I) / pixels.

    J is the derivative of an image in the styles of all its layers, which are taken as separate inputs, |J^T y|^2 is
    the mean over layers (the authors' code), and pixels are counted as height times width, under a root. a is the
    moving average of this length with `decay`; it starts at 0, moves before it is used, and carries no gradient. The
    first `share` of the batch is read.

    Raises ValueError for a generator without styles, a decay outside [0, 1) or a share outside (0, 1].
    """

    player = "generator"
    compares_images = True
    decay: Annotated[float, Interval(ge=0, lt=1)]
    share: Annotated[float, Interval(gt=0, le=1)]
    mean: Tensor  # of the lengths

    def __init__(
        self, *, weight: Annotated[float, Ge(0)] | Schedule, every: Annotated[int, Ge(1)], decay: float, share: float
    ) -> None:
        nn.Module.__init__(self)
        self.decay, self.share = decay, share
        Regularizer.__init__(self, weight=weight, every=every)
        self.register_buffer("mean", torch.zeros(()))

    def check(self, game: Game) -> None:
        assert game.style_shape

    def penalty(self, game: Game, turn: Turn) -> Loss:
        chosen = turn.latents.rows(slice(max(1, round(self.share * len(turn.latents)))))

        def projected(shift: Tensor) -> Scores:
            images = game.generate_shifted(chosen, shift).images
            direction = torch.randn_like(images) / images[0, 0].numel() ** 0.5
            return (images * direction).flatten(1).sum(1)

        slopes = input_gradient(projected, chosen.codes.new_zeros(len(chosen), *game.style_shape), differentiable=True)
        lengths = (slopes.square().sum(2).mean(1) + 1e-12).sqrt()  # a length of exactly zero has no gradient
        self.mean.lerp_(game.rows_everywhere(lengths.detach()).mean(), 1 - self.decay)
        return (lengths - self.mean).square().mean()
