"""The Metropolis-Hastings GAN (Turner et al. 2019, arXiv:1811.11357)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from gan_cli.game import Game
from gan_cli.latent_samplers.calibration import (
    Calibrated,
    LogRatio,
    batches,
    calibrated,
    image_scores,
    latent_scores,
    num_at_once,
    proposals,
)
from gan_cli.latent_samplers.latent_sampler import LatentSampler, Refinement
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Examples, Latents
from gan_cli.work import track


@dataclass(frozen=True, kw_only=True)
class MH(Calibrated):
    """For each image one Markov chain of `chain_length` prior draws as proposals (algorithm 1).

    A proposal x' is accepted from x with probability min(1, (1/D(x) - 1) / (1/D(x') - 1)), D being the calibrated
    probability that an image is real. Chains start at real images; one that never moves starts again from
    its own prior draw. `calibration` is fitted to as many generated images as there are real ones. Raises ValueError
    unless there is a proposal.
    """

    chain_length: Annotated[int, Ge(1)]

    def reads_real(self, objective: Objective) -> bool:
        return True

    def passes(self, count: int) -> int:
        proposals = count * self.chain_length
        return self.prior.passes(proposals) + proposals

    def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
        prior = self.prior.fitted(game, real)
        scores = image_scores(game, real)
        if real is None or scores is None:
            raise ValueError("chains start at real images: give some")
        fake_scores = latent_scores(game, proposals(prior, game, real.labels, real))
        log_ratio = calibrated(self.calibration, scores, fake_scores)
        at_once = num_at_once(real.images[0].numel(), real.device)
        real_log_ratios = log_ratio(scores)
        return FittedMH(
            prior=prior, settings=self, log_ratio=log_ratio, real_log_ratios=real_log_ratios, at_once=at_once
        )


@dataclass(frozen=True, kw_only=True)
class FittedMH(Refinement):
    """Metropolis-Hastings sampling with a calibrated discriminator, which judges `at_once` proposals at once.

    No proposal depends on the state of its chain, so those of many steps are judged before a chain takes them.
    """

    settings: MH
    log_ratio: LogRatio
    real_log_ratios: Tensor
    at_once: int

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        rows = torch.randint(len(self.real_log_ratios), (len(latents),), device=latents.device)
        first = self.prior.for_evaluation(game, latents, real)
        ended, moved = self.chains(game, first, self.real_log_ratios[rows], real)
        stuck = ~moved
        if stuck.any():
            again = first.rows(stuck)
            starts = self.log_ratio(latent_scores(game, again))
            ended.codes[stuck] = self.chains(game, again, starts, real)[0].codes
        return ended

    def chains(self, game: Game, first: Latents, log_ratios: Tensor, real: Examples | None) -> tuple[Latents, Tensor]:
        """Runs chains that start at the given log ratios; proposals are `first`, then prior draws.

        Returns where they end, and which of them moved; the others are left at their first proposal.
        """
        state, moved = first.codes.clone(), torch.zeros(len(first), dtype=torch.bool, device=first.device)
        steps = range(self.settings.chain_length)
        for rows in track(batches(len(steps), -(-self.at_once // len(first))), "proposals of all chains, batch"):
            draws = []
            for step in steps[rows]:
                candidates = first if step == 0 else proposals(self.prior, game, first.labels, real)
                draws.append((candidates, torch.rand_like(log_ratios).log()))
            judged = self.log_ratio(latent_scores(game, Latents.cat([each for each, _ in draws]), self.at_once))
            for (candidates, chance), candidate_ratios in zip(draws, judged.split(len(first)), strict=True):
                accepted = chance < candidate_ratios - log_ratios
                state = torch.where(accepted[:, None], candidates.codes, state)
                log_ratios = torch.where(accepted, candidate_ratios, log_ratios)
                moved |= accepted
        return first.with_codes(state), moved
