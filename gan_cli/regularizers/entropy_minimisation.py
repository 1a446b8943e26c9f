"""Entropy minimisation (Grandvalet and Bengio 2004): a classifier should be sure of unlabelled images, too."""

from dataclasses import dataclass

from torch.nn.functional import log_softmax

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class EntropyMinimisation(Regularizer):
    """The mean entropy of the class distribution of real images, in nats (Miyato et al., arXiv:1704.03976).

    Raises ValueError for a discriminator without class logits.
    """

    player = "discriminator"

    def check(self, game: Game) -> None:
        if not game.classifies:
            raise ValueError(
                "the discriminator has no class logits: set objective=classification or semi_supervised, or "
                "discriminator_labels=auxiliary, or remove this regularizer"
            )

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_outputs is not None
        assert turn.real_outputs.class_logits is not None
        log_p = log_softmax(turn.real_outputs.class_logits, 1)
        return -(log_p.exp() * log_p).sum(1).mean()
