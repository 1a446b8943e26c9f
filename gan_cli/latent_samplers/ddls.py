"""Discriminator driven latent sampling (Che et al. 2020, arXiv:2003.06060)."""

import math
from dataclasses import dataclass

import torch

from gan_cli.game import Game
from gan_cli.gradients import input_gradient
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.shapes import Images, Latents, Scores


@dataclass(frozen=True, kw_only=True)
class DDLS(Refinement):
    """Langevin dynamics in latent space towards the energy -log p_prior(z) - d(G(z)) (algorithm 1).

    d is the discriminator's score: the log of the density ratio for an optimal one trained as in the standard GAN, and
    what the paper takes for a Wasserstein critic. Each of `steps` steps goes `step_size` / 2 against the energy's
    gradient and adds N(0, `step_size`) noise; a prior with bounds reflects. Raises ValueError for a setting out of
    range, or a prior of unknown density.
    """

    steps: int
    step_size: float

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps={self.steps} must be at least 0")
        if self.step_size <= 0:
            raise ValueError(f"step_size={self.step_size} must be above 0")
        self.prior.log_density(torch.zeros(1, 1))

    def for_evaluation(self, game: Game, latents: Latents, real: Images) -> Latents:
        def log_density(latents: Latents) -> Scores:
            return self.prior.log_density(latents) + game.score(game.generator(latents))

        latents = self.prior.for_evaluation(game, latents, real)
        for _ in range(self.steps):
            drift = input_gradient(log_density, latents, differentiable=False)
            noise = torch.randn_like(latents)
            latents = reflected(
                latents + self.step_size / 2 * drift + math.sqrt(self.step_size) * noise, self.prior.half_width
            )
        return latents


def reflected(latents: Latents, half_width: float) -> Latents:
    """Folded back into [-half_width, half_width] as often as it takes."""
    if math.isinf(half_width):
        return latents
    return half_width - ((latents + half_width).remainder(4 * half_width) - 2 * half_width).abs()
