"""AdvLatGAN-z (Li et al. 2022, section 3.1): a trained generator is sampled at latents that fool its discriminator."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.latent_samplers.search import check_search, fooling_latents
from gan_cli.shapes import Images, Latents

if TYPE_CHECKING:
    from gan_cli.objectives.objective import Objective


@dataclass(frozen=True, kw_only=True)
class AdvLatZ(Refinement):
    """Searches from what is to be scored: `steps` steps of `step_size`, at most `radius` away in each coordinate.

    With a `radius` it is the paper's problem (equations 5, 6), with None the authors' code. Raises ValueError for a
    setting out of range.
    """

    steps: int
    step_size: float
    radius: float | None

    def __post_init__(self) -> None:
        check_search(self.steps, self.step_size, self.radius)

    def for_evaluation(self, game: Game, latents: Latents, real: Images) -> Latents:
        start = self.prior.for_evaluation(game, latents, real)
        return fooling_latents(game, start, real, steps=self.steps, step_size=self.step_size, radius=self.radius)

    def reads_real(self, objective: "Objective") -> bool:
        return objective.generator_reads_real or self.prior.reads_real(objective)
