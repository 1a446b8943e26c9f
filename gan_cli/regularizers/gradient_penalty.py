"""Gradient penalty between real and fake images (Gulrajani et al. 2017, arXiv:1704.00028)."""

from dataclasses import dataclass

import torch
from torch.nn.functional import relu

from gan_cli.game import Game, Turn
from gan_cli.gradients import input_gradient
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Examples, Images, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class GradientPenalty(Regularizer):
    """Pulls the score's slope at random mixtures of real and fake images towards `target` (equation 3).

    `one_sided` leaves slopes below the target alone (Petzka et al. 2018, arXiv:1709.08894); a target of zero is the
    zero-centred penalty (Thanh-Tung et al. 2019, arXiv:1902.03984).
    """

    target: float
    one_sided: bool

    player = "discriminator"

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        real, fake = turn.real.images, turn.fake.images
        mixture = torch.rand_like(real[:, :1, :1, :1])
        between = turn.real.with_images(mixture * real + (1 - mixture) * fake)
        excess = slope(game, between) - self.target
        return (relu(excess) if self.one_sided else excess).square().mean()


def score_gradient(game: Game, shown: Examples) -> Images:
    """The score's gradient at each image, which can itself be differentiated."""
    return input_gradient(lambda images: game.score(shown.with_images(images)), shown.images, differentiable=True)


def slope(game: Game, shown: Examples) -> Scores:
    """The length of the score's gradient at each image, [batch]."""
    return (
        score_gradient(game, shown).square().flatten(1).sum(1) + 1e-12
    ).sqrt()  # a length of exactly zero has no gradient
