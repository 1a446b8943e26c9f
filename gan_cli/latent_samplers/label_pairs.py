"""Pairs of latents with one label (MSGAN, Mao et al. 2019, arXiv:1903.05628)."""

from dataclasses import dataclass

from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.shapes import Examples, Latents


@dataclass(frozen=True, kw_only=True)
class LabelPairs(Refinement):
    """Gives the generator pairs of independent draws with one label, rows i and i + batch / 2, for `mode_seeking`.

    The second of a pair has the label of the first; of an odd number, the last row belongs to no pair.
    """

    def for_generator(self, game: Game, real: Examples) -> Latents:
        latents = self.prior.for_generator(game, real)
        half = len(latents) // 2
        first, second, rest = (latents.rows(slice(*ends)) for ends in ((half,), (half, 2 * half), (2 * half, None)))
        return Latents.cat([first, Latents(second.codes, first.labels), rest])
