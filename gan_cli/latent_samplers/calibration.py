"""From a discriminator's scores to log density ratios: what rejection and Metropolis-Hastings sampling go by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gan_cli.engine import CPU
from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import LatentSampler, Refinement
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Examples, Labelled, Labels, Latents, unlabelled

Method = Literal["none", "logistic", "isotonic"]
LogRatio = Callable[[Tensor], Tensor]
BATCH = 256
MOST_AT_ONCE = 4096
VALUES_ON_CPU, VALUES = 2**16, 2**20  # in all images that pass at once: with more, small ones are no faster


@dataclass(frozen=True, kw_only=True)
class Calibrated(Refinement):
    """A sampler that goes by log density ratios, which it is fitted to once for many calls."""

    reads_discriminator = True

    calibration: Method

    def reads_real(self, objective: Objective) -> bool:
        return self.calibration != "none" or self.prior.reads_real(objective)

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        return self.fitted(game, real).for_evaluation(game, latents, real)


def calibrated(method: Method, real: Tensor | None, fake: Tensor) -> LogRatio:
    """Scores to log(p_data / p_generator) in float64, fitted to scores of real and generated images in equal weight.

    `none` takes the score as it is, which is right for an optimal discriminator of the standard GAN; `logistic` fits a
    line, `isotonic` any increasing step function. Raises ValueError where images to fit to are missing.
    """
    if method == "none":
        return uncalibrated
    if real is None:
        raise ValueError(f"calibration={method} needs real images to compare with")
    return {"logistic": logistic, "isotonic": isotonic}[method](
        real.double().cpu().numpy(), fake.double().cpu().numpy()
    )


def uncalibrated(scores: Tensor) -> Tensor:
    """The score as a log density ratio."""
    return scores.double()


def logistic(real: np.ndarray, fake: np.ndarray) -> LogRatio:
    """Platt scaling, nearly unpenalised; a score that falls with realness counts for nothing."""
    from sklearn.linear_model import LogisticRegression

    scores, is_real = np.concatenate([real, fake]), np.repeat([1, 0], [len(real), len(fake)])
    center, width = scores.mean(), scores.std() or 1.0
    model = LogisticRegression(C=1e4, class_weight="balanced").fit((scores[:, None] - center) / width, is_real)
    slope, intercept = max(model.coef_.item(), 0.0) / width, model.intercept_.item()
    return lambda scores: slope * (scores.double() - center) + intercept


def isotonic(real: np.ndarray, fake: np.ndarray) -> LogRatio:
    """Isotonic regression; each of its steps is smoothed by half an image of either kind.

    Without that the few best real images, which no generated one reaches, would have an infinite ratio, and a chain
    that came near them would never leave again.
    """
    from sklearn.isotonic import IsotonicRegression

    scores, is_real = np.concatenate([real, fake]), np.repeat([1.0, 0.0], [len(real), len(fake)])
    weights = np.where(is_real == 1, 1 / len(real), 1 / len(fake))
    model = IsotonicRegression(out_of_bounds="clip").fit(scores, is_real, sample_weight=weights)
    steps, step = np.unique(model.predict(scores).round(12), return_inverse=True)
    num_real, num_fake = (np.bincount(step, weights=kind) for kind in (is_real, 1 - is_real))
    smoothed = np.log((num_real + 0.5) / (len(real) + 0.5)) - np.log((num_fake + 0.5) / (len(fake) + 0.5))
    log_ratios = np.maximum.accumulate(smoothed)  # of two short steps, smoothing may have lowered the higher more

    def log_ratio(scores: Tensor) -> Tensor:
        probabilities = model.predict(scores.double().cpu().numpy())
        return torch.from_numpy(np.interp(probabilities, steps, log_ratios)).to(scores.device)

    return log_ratio


def image_scores(game: Game, shown: Examples | None) -> Tensor | None:
    """The scores of any number of images, if there are any."""
    return None if shown is None else in_batches(lambda rows: game.score(shown.rows(rows)), shown)


def latent_scores(game: Game, latents: Latents, at_once: int = BATCH) -> Tensor:
    """The scores of what the generator makes of any number of latents."""
    return in_batches(lambda rows: game.score(game.generate(latents.rows(rows))), latents, at_once)


def num_at_once(values: int, device: torch.device) -> int:
    """How many images of so many values fill the device: BATCH, and a multiple of it where they are small."""
    in_all = VALUES_ON_CPU if device == CPU else VALUES
    return max(BATCH, min(MOST_AT_ONCE, in_all // values) // BATCH * BATCH)


def labels_like(real: Examples | None, count: int, device: torch.device) -> Labels:
    """`count` labels as often as they are in `real`; none without it."""
    return unlabelled(count, device) if real is None else real.labels[torch.arange(count, device=device) % len(real)]


def proposals(prior: LatentSampler, game: Game, labels: Labels, real: Examples | None) -> Latents:
    """As many latents as there are labels, as the prior would have them scored."""
    drawn = Latents(prior.sample(len(labels), labels.device), labels)
    with torch.no_grad():
        return Latents.cat([prior.for_evaluation(game, drawn.rows(rows), real) for rows in batches(len(drawn))])


def in_batches(function: Callable[[slice], Tensor], all_rows: Labelled, at_once: int = BATCH) -> Tensor:
    """The function of every batch of rows, without a gradient."""
    with torch.no_grad():
        return torch.cat([function(rows) for rows in batches(len(all_rows), at_once)])


def batches(count: int, at_once: int = BATCH) -> list[slice]:
    return [slice(start, start + at_once) for start in range(0, count, at_once)]
