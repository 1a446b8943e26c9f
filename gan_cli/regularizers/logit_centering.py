"""Logit centring (arXiv:2511.22475): the scores of real and generated images are opposite on average."""

from dataclasses import dataclass

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Loss


@dataclass(frozen=True, kw_only=True)
class LogitCentering(Regularizer):
    """The mean of (v_r + v_f)^2 over the rows of a turn: it fixes the constant that a relativistic loss leaves free.

    v is the objective's score, for objectives of several outcomes too.
    """

    player = "discriminator"

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        return (game.objective.score(turn.real_logits) + game.objective.score(turn.fake_logits)).square().mean()
