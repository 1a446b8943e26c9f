"""LOGAN (Wu et al. 2019, arXiv:1912.00953): latents moved up the score by one step of natural gradient."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval

from gan_cli.game import Game
from gan_cli.gradients import input_gradient
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.shapes import Codes, Examples, Latents, Moved, Scores


@dataclass(frozen=True, kw_only=True)
class LOGAN(Refinement):
    """Both players train on z' = z + alpha g / (beta + |g|^2), g the gradient of the score v(G(z)) at a prior draw z.

    z' stays within the prior's support: [-1, 1] of a uniform prior. The first `share` of the batch is moved. In the
    generator's turn z' keeps its graph, so that the generator's gradient also flows through g; for the
    discriminator it is a constant, as all that the generator makes. `latent_distance` adds the paper's penalty on
    |z' - z|^2. Scored and drawn is the prior itself.

    Raises ValueError for an alpha below 0, a beta that is not above 0, or a share outside (0, 1].
    """

    reads_discriminator = True

    alpha: Annotated[float, Ge(0)]
    beta: Annotated[float, Gt(0)]
    share: Annotated[float, Interval(gt=0, le=1)]

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return self.moved(game, self.prior.for_discriminator(game, real), differentiable=False)

    def for_generator(self, game: Game, real: Examples) -> Latents:
        return self.moved(game, self.prior.for_generator(game, real), differentiable=True)

    def moved(self, game: Game, start: Latents, *, differentiable: bool) -> Moved:
        count = max(1, round(self.share * len(start)))
        chosen, drawn = start.rows(slice(count)), start.codes

        def score(codes: Codes) -> Scores:
            return game.score(game.generate(chosen.with_codes(codes)))

        with game.isolated("search"):
            slope = input_gradient(score, chosen.codes, differentiable=differentiable)
        step = self.alpha * slope / (self.beta + slope.square().sum(1, keepdim=True))
        codes = (chosen.codes + step).clamp(-self.half_width, self.half_width)
        return Moved(torch.cat([codes, drawn[count:]]), start.labels, drawn)
