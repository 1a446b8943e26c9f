"""Discriminator rejection sampling (Azadi et al. 2019, arXiv:1810.06758)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Int
from torch import Tensor

from gan_cli.game import Game
from gan_cli.latent_samplers.calibration import (
    Calibrated,
    LogRatio,
    calibrated,
    image_scores,
    labels_like,
    latent_scores,
    proposals,
)
from gan_cli.latent_samplers.latent_sampler import LatentSampler, Refinement
from gan_cli.shapes import Examples, Labels, Latents
from gan_cli.work import track


@dataclass(frozen=True, kw_only=True)
class DRS(Calibrated):
    """Accepts prior draws with probability sigmoid(F) (algorithm 1), until there are enough.

    F = d - M - log(1 - exp(d - M - `epsilon`)) - gamma, where d is the log density ratio that the discriminator
    implies and M the largest of `num_burn_in` draws or of any in this call. gamma is the `percentile` of F among the
    draws at hand, or zero for None: then what is accepted is distributed as the data, if the discriminator is optimal.
    `calibration` of the scores stands in for the paper's further training of the discriminator. Where `max_rounds` of
    as many draws as are wanted do not yield enough, the most real of the rest fill up, with a warning. Raises
    ValueError for a setting out of range.
    """

    percentile: float | None
    epsilon: Annotated[float, Gt(0)]
    num_burn_in: Annotated[int, Ge(1)]
    max_rounds: Annotated[int, Ge(1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile={self.percentile} must be from 0 to 100, or null for none")

    def passes(self, count: int) -> int:
        proposals = self.num_burn_in + count
        return self.prior.passes(proposals) + proposals

    def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
        prior = self.prior.fitted(game, real)
        labels = labels_like(real, self.num_burn_in, game.engine.device)
        scores = latent_scores(game, proposals(prior, game, labels, real))
        log_ratio = calibrated(self.calibration, image_scores(game, real), scores)
        return FittedDRS(prior=prior, settings=self, log_ratio=log_ratio, highest=log_ratio(scores).max().item())

    def log_odds_of_acceptance(self, log_ratio: Tensor, highest: float) -> Tensor:
        """F of draws none of which is above `highest`."""
        below = log_ratio - highest
        odds = below - torch.log(-torch.expm1(below - self.epsilon))
        return odds if self.percentile is None else odds - odds.quantile(self.percentile / 100)


@dataclass(frozen=True, kw_only=True)
class FittedDRS(Refinement):
    """Rejection sampling with what burn-in found."""

    settings: DRS
    log_ratio: LogRatio
    highest: float

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        wanted, highest = latents.labels, self.highest
        accepted: list[Latents] = []
        rejected: list[tuple[Latents, Tensor]] = []
        for attempt in track(range(self.settings.max_rounds), "round of rejection, at most"):
            draws = latents if attempt == 0 else latents.with_codes(self.prior.sample(len(wanted), latents.device))
            draws = self.prior.for_evaluation(game, draws, real)
            log_ratio = self.log_ratio(latent_scores(game, draws))
            highest = max(highest, log_ratio.max().item())
            chance = self.settings.log_odds_of_acceptance(log_ratio, highest).sigmoid()
            chosen = torch.rand_like(chance) < chance
            accepted.append(draws.rows(chosen))
            rejected.append((draws.rows(~chosen), log_ratio[~chosen]))
            rows = matched(wanted, labels_of(accepted))
            if rows.min() >= 0:
                return Latents.cat(accepted).rows(rows)
        missing = (matched(wanted, labels_of(accepted)) < 0).sum().item()
        warnings.warn(
            f"rejection sampling accepted {sum(map(len, accepted))} of {len(wanted) * self.settings.max_rounds} draws, "
            f"and the most real of the rest stand in for {missing}: raise max_rounds or set a lower percentile",
            stacklevel=2,
        )
        ratios = torch.cat([log_ratio for _, log_ratio in rejected])
        rest = Latents.cat([draws for draws, _ in rejected]).rows(ratios.argsort(descending=True))
        filled = Latents.cat([*accepted, rest])
        return filled.rows(matched(wanted, filled.labels))


def labels_of(latents: Sequence[Latents]) -> Labels:
    return torch.cat([each.labels for each in latents])


def matched(wanted: Labels, found: Int[Tensor, " found"]) -> Labels:
    """For each wanted label the row of the first found one that is equal and not taken yet; -1 if there is none."""
    rows = torch.full_like(wanted, -1)
    for label in wanted.unique():
        places, there = ((labels == label).nonzero().flatten() for labels in (wanted, found))
        rows[places[: len(there)]] = there[: len(places)]
    return rows
