import torch
from torch import Tensor, nn

from gan_cli.game import Game, Turn
from gan_cli.regularizers import Regularizer
from gan_cli.shapes import Loss


class SteadyGap(nn.Module, Regularizer):
    """The gap between the mean scores of real and of generated images stays near its own moving average."""

    player = "discriminator"
    average: Tensor
    started: Tensor

    def __init__(self, *, weight: float, every: int, decay: float) -> None:
        nn.Module.__init__(self)
        Regularizer.__init__(self, weight=weight, every=every)
        self.decay = decay
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros(()))

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        real, fake = (game.objective.score(logits).mean() for logits in (turn.real_logits, turn.fake_logits))
        gap = real - fake
        self.average.lerp_(gap.detach(), 1 - self.decay * self.started)  # the first batch sets it
        self.started.fill_(1)
        return (gap - self.average).square()
