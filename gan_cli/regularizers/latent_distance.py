"""LOGAN's penalty on how far latents are moved (Wu et al. 2019, arXiv:1912.00953), for the generator."""

from dataclasses import dataclass

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Loss, Moved


@dataclass(frozen=True, kw_only=True)
class LatentDistance(Regularizer):
    """The mean of |z' - z|^2 over the latents of the generator's turn, z' being what became of the prior draw z.

    Raises ValueError for latents that were not moved from draws.
    """

    player = "generator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        if not isinstance(turn.latents, Moved):
            raise ValueError("latent_distance reads how far latents are moved: set latent_sampler=logan")
        return (turn.latents.codes - turn.latents.drawn).square().sum(1).mean()
