from dataclasses import dataclass

import torch

from gan_cli.game import Game, Turn
from gan_cli.regularizers import Regularizer
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class Interpolation(Regularizer):
    """The score of a mixture of a real and a generated image is the mixture of their scores (after Verma et al. 2019,
    arXiv:1903.03825)."""

    player = "discriminator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        real, fake = (game.objective.score(logits) for logits in (turn.real_logits, turn.fake_logits))
        share = torch.rand_like(turn.real.images[:, :1, :1, :1])
        mixed = turn.real.with_images(share * turn.real.images + (1 - share) * turn.fake.images)
        return (game.score(mixed) - torch.lerp(fake, real, share.flatten())).square().mean()
