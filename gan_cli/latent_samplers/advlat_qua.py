"""AdvLatGAN-qua (Li et al. 2022, algorithm 1): the discriminator trains on the latents that fool it best."""

from dataclasses import dataclass

from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.latent_samplers.search import check_search, fooling_latents
from gan_cli.shapes import Images, Latents


@dataclass(frozen=True, kw_only=True)
class AdvLatQua(Refinement):
    """Searches from fresh prior draws in every turn of the discriminator; the generator trains on the prior itself.

    `steps` steps of `step_size`, at most `radius` from the draw in each coordinate (None: no bound, as in the authors'
    code). Raises ValueError for a setting out of range.
    """

    steps: int
    step_size: float
    radius: float | None

    def __post_init__(self) -> None:
        check_search(self.steps, self.step_size, self.radius)

    def for_discriminator(self, game: Game, real: Images) -> Latents:
        start = self.prior.for_discriminator(game, real)
        return fooling_latents(game, start, real, steps=self.steps, step_size=self.step_size, radius=self.radius)
