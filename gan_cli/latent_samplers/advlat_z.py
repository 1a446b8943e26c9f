"""AdvLatGAN-z (Li et al. 2022): a trained generator is sampled at latents that fool its discriminator."""

from dataclasses import dataclass

from gan_cli.game import Game
from gan_cli.latent_samplers.search import Search
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Examples, Latents


@dataclass(frozen=True, kw_only=True)
class AdvLatZ(Search):
    """Searches from what is to be scored, with generator and discriminator at rest."""

    reads_discriminator = True

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        return self.fooling(game, self.prior.for_evaluation(game, latents, real), real)

    def passes(self, count: int) -> int:
        return self.prior.passes(count) + count * self.steps

    def reads_real(self, objective: Objective) -> bool:
        return objective.generator_reads_real or self.prior.reads_real(objective)
