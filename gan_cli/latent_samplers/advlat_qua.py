"""AdvLatGAN-qua (Li et al. 2022, algorithm 1): the discriminator trains on the latents that fool it best."""

from dataclasses import dataclass

from gan_cli.game import Game
from gan_cli.latent_samplers.search import Search
from gan_cli.shapes import Examples, Latents


@dataclass(frozen=True, kw_only=True)
class AdvLatQua(Search):
    """Searches from fresh prior draws in every turn of the discriminator; the generator trains on the prior itself."""

    reads_discriminator = True

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return self.fooling(game, self.prior.for_discriminator(game, real), real)
