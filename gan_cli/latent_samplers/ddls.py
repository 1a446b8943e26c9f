"""Discriminator driven latent sampling (Che et al. 2020, arXiv:2003.06060)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt

from gan_cli.game import Game
from gan_cli.gradients import input_gradient
from gan_cli.latent_samplers.calibration import (
    Calibrated,
    LogRatio,
    calibrated,
    image_scores,
    latent_scores,
    proposals,
    uncalibrated,
)
from gan_cli.latent_samplers.latent_sampler import Block, LatentSampler, Refinement
from gan_cli.shapes import Codes, Examples, Latents, Scores
from gan_cli.work import track


@dataclass(frozen=True, kw_only=True)
class DDLS(Calibrated):
    """Langevin dynamics in latent space towards the energy -log p_prior(z) - d(G(z)) (algorithm 1).

    d is the score: the log density ratio for an optimal discriminator of the standard GAN; the paper also uses it with
    a Wasserstein critic. A `logistic` calibration makes it the line in the score that fits that ratio best. Each of
    `steps` steps goes `step_size` / 2 against the energy's gradient and adds N(0, `step_size`) noise; a prior with
    bounds reflects. Raises ValueError for a setting out of range, or a prior of unknown density.
    """

    steps: Annotated[int, Ge(0)]
    step_size: Annotated[float, Gt(0)]
    calibration: Literal["none", "logistic"]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prior.log_density(torch.zeros(1, 1))

    def passes(self, count: int) -> int:
        return self.prior.passes(count) + count * self.steps

    def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
        prior = self.prior.fitted(game, real)
        if self.calibration == "none":
            return FittedDDLS(prior=prior, settings=self, log_ratio=uncalibrated)
        if real is None:
            raise ValueError(f"calibration={self.calibration} needs real images to compare with")
        fake = proposals(prior, game, real.labels, real)
        log_ratio = calibrated(self.calibration, image_scores(game, real), latent_scores(game, fake))
        return FittedDDLS(prior=prior, settings=self, log_ratio=log_ratio)


@dataclass(frozen=True, kw_only=True)
class FittedDDLS(Refinement):
    """Langevin dynamics with a calibrated discriminator."""

    settings: DDLS
    log_ratio: LogRatio

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        return next(self.for_blocks(game, [Block(latents, nullcontext(), len(latents))], real))

    def for_blocks(self, game: Game, blocks: Sequence[Block], real: Examples | None) -> Iterator[Latents]:
        """All wanted chains at once; their noise is drawn block by block, as if each was alone."""
        starts = zip(blocks, self.prior.for_blocks(game, blocks, real), strict=True)
        latents = Latents.cat([start.rows(slice(block.wanted)) for block, start in starts])

        def log_density(codes: Codes) -> Scores:
            return self.prior.log_density(codes) + self.log_ratio(game.score(game.generate(latents.with_codes(codes))))

        codes, step_size = latents.codes, self.settings.step_size
        for _ in track(range(self.settings.steps), "Langevin step"):
            with blocks[0].stream:  # for networks that draw
                drift = input_gradient(log_density, codes, differentiable=False)
            moved = codes + step_size / 2 * drift + math.sqrt(step_size) * torch.cat([noise(block) for block in blocks])
            codes = reflected(moved, self.half_width)
        sizes = [block.wanted for block in blocks]
        yield from map(Latents, codes.split(sizes), latents.labels.split(sizes))


def noise(block: Block) -> Codes:
    """For the wanted rows, the same however many are wanted."""
    with block.stream:
        return torch.randn_like(block.latents.codes)[: block.wanted]


def reflected(codes: Codes, half_width: float) -> Codes:
    """Folded back into [-half_width, half_width] as often as it takes."""
    if math.isinf(half_width):
        return codes
    return half_width - ((codes + half_width).remainder(4 * half_width) - 2 * half_width).abs()
