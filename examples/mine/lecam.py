import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from gan_cli.game import Game, Turn
from gan_cli.regularizers import Regularizer
from gan_cli.shapes import Loss


class LeCam(nn.Module, Regularizer):
    """Real scores stay near the mean of fake ones, and fake scores near that of real ones (Tseng et al. 2021,
    arXiv:2104.03310, in the form of the authors' code); the means move along with training."""

    player = "discriminator"
    means: Tensor  # of the scores of real and of fake images
    started: Tensor

    def __init__(self, *, weight: float, every: int, decay: float) -> None:
        nn.Module.__init__(self)
        Regularizer.__init__(self, weight=weight, every=every)
        self.decay = decay
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("started", torch.zeros(()))

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        real, fake = (game.objective.score(logits) for logits in (turn.real_logits, turn.fake_logits))
        now = torch.stack([real.mean(), fake.mean()]).detach()
        self.means.lerp_(now, 1 - self.decay * self.started)  # the first batch sets them
        self.started.fill_(1)
        return relu(real - self.means[1]).square().mean() + relu(self.means[0] - fake).square().mean()
