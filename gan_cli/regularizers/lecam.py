"""LeCam regularization (Tseng et al. 2021, arXiv:2104.03310)."""

from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn.functional import relu

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.schedule import Schedule
from gan_cli.shapes import Loss


class LeCam(nn.Module, Regularizer):
    """Real scores above the mean of fake ones, and fake scores below that of real ones, are pulled to these means.

    E relu(v_r - a_f)^2 + E relu(a_r - v_f)^2, in the form of the authors' code; the means a are moving averages with
    `decay` of the scores of each batch, and carry no gradient. The first batch sets them, and each later one moves them
    before they are used. v is the objective's score, for objectives of several outcomes too.

    Raises ValueError for a decay outside [0, 1).
    """

    player = "discriminator"
    compares_images = True
    decay: Annotated[float, Interval(ge=0, lt=1)]
    means: Tensor  # of the scores of real and of generated images
    started: Tensor

    def __init__(
        self, *, weight: Annotated[float, Ge(0)] | Schedule, every: Annotated[int, Ge(1)], decay: float
    ) -> None:
        nn.Module.__init__(self)
        self.decay = decay
        Regularizer.__init__(self, weight=weight, every=every)
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("started", torch.zeros(()))

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        real, fake = (game.objective.score(logits) for logits in (turn.real_logits, turn.fake_logits))
        now = torch.stack([game.rows_everywhere(side.detach()).mean() for side in (real, fake)])
        self.means.lerp_(now, 1 - self.decay * self.started)
        self.started.fill_(1)
        return relu(real - self.means[1]).square().mean() + relu(self.means[0] - fake).square().mean()
