"""Virtual adversarial training (Miyato et al. 2018, arXiv:1704.03976), of the discriminator."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gan_cli.game import Game, Turn
from gan_cli.gradients import input_gradient, normalised
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Examples, Images, Logits, Loss


@dataclass(frozen=True, kw_only=True)
class VAT(Regularizer):
    """The local distributional smoothness (LDS) of the discriminator's prediction (section 3).

    How far the prediction can be moved by a step of Euclidean length `epsilon` in the space of images ([-1, 1] a
    pixel), in the worst direction that `num_power_iterations` find, starting from a random one (algorithm 1). `xi` is
    the length of their finite difference. The objective says what distance between predictions is; the unperturbed one
    carries no gradient. `images` says where: real, fake or both, their mean.

    Raises ValueError for an epsilon or xi that is not above 0, or a negative number of iterations.
    """

    epsilon: Annotated[float, Gt(0)]
    xi: Annotated[float, Gt(0)]
    num_power_iterations: Annotated[int, Ge(0)]
    images: Literal["real", "fake", "both"]

    player = "discriminator"

    def check(self, game: Game) -> None:
        if self.images == "fake":
            check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        chosen = {"real": [turn.real], "fake": [turn.fake], "both": [turn.real, turn.fake]}[self.images]
        return self.smoothness(game, Examples.cat(chosen))

    def smoothness(self, game: Game, shown: Examples) -> Loss:
        def predict(images: Images) -> Logits:
            with game.random_stream("prediction"):  # the same dropout and noise at every pass
                return game.judge(shown.with_images(images))

        images = shown.images
        direction = normalised(torch.randn_like(images))  # drawn first: `predict` repeats until something else is drawn
        with torch.no_grad():
            prediction = predict(images)

        def moved(offset: Tensor) -> Tensor:
            return game.objective.disagreement(prediction, predict(images + offset))

        for _ in range(self.num_power_iterations):
            gradient = input_gradient(lambda d: moved(self.xi * d), direction, differentiable=False)
            direction = normalised(gradient)
        return moved(self.epsilon * direction).mean()
