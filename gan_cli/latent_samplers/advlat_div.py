"""AdvLatGAN-div (Li et al. 2022, algorithm 2): the generator trains on pairs of latents that it maps too close."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt

from gan_cli.game import Game
from gan_cli.latent_samplers.search import Search
from gan_cli.regularizers.mode_seeking import distance
from gan_cli.shapes import Codes, Examples, Latents, Scores


@dataclass(frozen=True, kw_only=True)
class AdvLatDiv(Search):
    """Gives the generator pairs, rows i and i + batch / 2, for `mode_seeking` to push apart.

    The first of a pair is a prior draw; the second has its label, starts at N(0, `start_std`^2) from it and searches
    down the ratio (equation 8) of the distance between their images to that between their codes plus `offset` (0 in the
    paper, 1 in the authors' code). Distances are mean absolute differences of each pair; the authors' code takes their
    means over the batch first. The discriminator trains on the prior itself. Raises ValueError for a setting out of
    range.
    """

    start_std: Annotated[float, Gt(0)]
    offset: Annotated[float, Ge(0)]

    def for_generator(self, game: Game, real: Examples) -> Latents:
        latents = self.prior.for_generator(game, real)
        half = len(latents) // 2
        first, rest = latents.rows(slice(half)), latents.rows(slice(2 * half, None))
        codes = first.codes
        start = (codes + self.start_std * torch.randn_like(codes)).clamp(-self.half_width, self.half_width)
        with game.isolated("search"):
            with torch.no_grad():
                images = game.generate(first).images

            def ratio(others: Codes) -> Scores:
                made = game.generate(first.with_codes(others)).images
                return distance(made, images) / (distance(others, codes) + self.offset)

            partners = first.with_codes(self.descended(ratio, start))
        return Latents.cat([first, partners, rest])
