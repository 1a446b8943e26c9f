"""RealnessGAN (Xiangli et al. 2020, arXiv:2002.05512): realness is a distribution, not one number."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gan_cli.objectives.objective import Objective
from gan_cli.seeding import mix
from gan_cli.shapes import Logits, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class Realness(Objective):
    """The discriminator predicts a distribution over `num_outcomes` atoms; each side has an anchor to match.

    The atoms are evenly spaced on [support_min, support_max]. The fake anchor A0 is a histogram of normal draws, the
    real anchor A1 one of uniform draws, each over its own range (so their scale is irrelevant); each is then moved
    along the support by its skew. `anchors` says what the histograms are: `resampled` at every loss (the authors' code
    draws once a step for both players; the expectation is the same), `fixed` by one draw from `anchor_seed`, or
    `expected`, their exact mean. The generator's loss is equation 18, 19 or 20 of the paper for `generator_objective`
    1, 2 or 3. Losses are cross entropies: the paper's KL divergences plus the anchors' entropies, which carry no
    gradient.

    Raises ValueError for a setting outside its range.
    """

    num_outcomes: int = field()  # not the inherited 1
    generator_objective: Literal[1, 2, 3]
    anchors: Literal["resampled", "fixed", "expected"]
    num_anchor_samples: int
    anchor_seed: int
    support_min: float
    support_max: float
    real_skew: float
    fake_skew: float

    def __post_init__(self) -> None:
        if self.num_outcomes < 2:
            raise ValueError(
                f"num_outcomes={self.num_outcomes} must be at least 2: one outcome cannot tell real from fake"
            )
        if self.num_anchor_samples < 2:
            raise ValueError(f"num_anchor_samples={self.num_anchor_samples} must be at least 2")
        if not self.support_min < self.support_max:
            raise ValueError(f"support_min={self.support_min} must be below support_max={self.support_max}")

    @property
    def generator_reads_real(self) -> bool:  # type: ignore[override]
        return self.generator_objective == 2

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        toward_real = cross_entropy(self.real_anchor(real_logits), real_logits)
        toward_fake = cross_entropy(self.fake_anchor(fake_logits), fake_logits)
        return toward_real + toward_fake

    def generator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        away_from_fake = -cross_entropy(self.fake_anchor(fake_logits), fake_logits)
        if self.generator_objective == 1:
            return away_from_fake
        if self.generator_objective == 2:
            # The mean over real images in place of an arbitrary pairing: the same expectation, less variance.
            return cross_entropy(real_logits.softmax(1).mean(0).detach(), fake_logits) + away_from_fake
        return cross_entropy(self.real_anchor(fake_logits), fake_logits) + away_from_fake

    def score(self, logits: Logits) -> Scores:
        """<A1 - A0, logits> for the expected anchors: how much better the real one fits than the fake one.

        Linear in the logits, so that a confident discriminator still has a slope to penalise; with two outcomes and
        one-atom anchors it is the standard GAN's logit.
        """
        expected = replace(self, anchors="expected")
        return logits @ (expected.real_anchor(logits) - expected.fake_anchor(logits))

    def support(self, like: Tensor) -> Tensor:
        return torch.linspace(
            self.support_min, self.support_max, self.num_outcomes, dtype=like.dtype, device=like.device
        )

    def real_anchor(self, like: Tensor) -> Tensor:
        """A1, [outcomes]: uniform draws, moved by `real_skew`."""
        return self.histogram("uniform", like) @ self.shift(self.real_skew, like)

    def fake_anchor(self, like: Tensor) -> Tensor:
        """A0, [outcomes]: normal draws, moved by `fake_skew`."""
        return self.histogram("normal", like) @ self.shift(self.fake_skew, like)

    def histogram(self, law: Literal["normal", "uniform"], like: Tensor) -> Tensor:
        if self.anchors == "expected":
            bins = expected_histogram(law, self.num_anchor_samples, self.num_outcomes)
            return torch.tensor(bins, dtype=like.dtype, device=like.device)
        if self.anchors == "fixed":
            generator = torch.Generator().manual_seed(mix(law, self.anchor_seed))
            return histogram(draw(law, self.num_anchor_samples, generator), self.num_outcomes).to(like)
        return histogram(draw(law, self.num_anchor_samples, None, like.device), self.num_outcomes).to(like)

    def shift(self, skew: float, like: Tensor) -> Tensor:
        """[outcomes, outcomes]: where the mass of each atom lands, split linearly between its two new neighbours.

        The categorical projection of Bellemare et al. 2017 (arXiv:1707.06887, equation 7); mass that leaves the
        support piles up on its end.
        """
        spacing = (self.support_max - self.support_min) / (self.num_outcomes - 1)
        moved = (self.support(like) + skew).clamp(self.support_min, self.support_max)
        position = (moved - self.support_min) / spacing
        atoms = torch.arange(self.num_outcomes, dtype=like.dtype, device=like.device)
        return (1 - (position[:, None] - atoms).abs()).clamp(min=0)


def cross_entropy(target: Tensor, logits: Logits) -> Loss:
    """KL(target || prediction) up to the target's entropy; `target` is one distribution [outcomes] for the batch."""
    return -(logits.log_softmax(1) @ target).mean()


def draw(law: str, count: int, generator: torch.Generator | None, device: torch.device | None = None) -> Tensor:
    sample = torch.randn if law == "normal" else torch.rand
    return sample(count, generator=generator, device=device)


def histogram(draws: Tensor, num_bins: int) -> Tensor:
    """The share of draws in each of `num_bins` equal bins between the smallest and the largest draw."""
    smallest, largest = draws.aminmax()
    bins = ((draws - smallest) / (largest - smallest) * num_bins).long().clamp(max=num_bins - 1)
    counts = torch.zeros(num_bins, device=draws.device)
    return counts.scatter_add_(0, bins, torch.ones_like(draws)) / len(draws)


@lru_cache
def expected_histogram(law: str, num_draws: int, num_bins: int) -> tuple[float, ...]:
    """The exact mean of `histogram` over samples of `num_draws`.

    The extremes fall into the outer bins; given them, the other draws are independent between them. The extremes'
    ranks are integrated over exactly: with p, q uniform on (0, 1), the smallest of n uniform draws is
    u = 1 - (1 - p)^(1/n), and the largest then u + (1 - u) q^(1/(n-1)).
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    p, weight = torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2)
    low = -torch.expm1(torch.log1p(-p) / num_draws)[:, None]
    above = (1 - low) * -torch.expm1(torch.log(p) / (num_draws - 1))[None, :]  # 1 - high, without cancellation
    if law == "normal":
        start, end = torch.special.ndtri(low), -torch.special.ndtri(above)
    else:
        start, end = low, 1 - above
    fractions = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)
    edges = start[..., None] + (end - start)[..., None] * fractions
    ranks = torch.special.ndtr(edges) if law == "normal" else edges
    between = ranks.diff(dim=-1) / (ranks[..., -1:] - ranks[..., :1])
    inner = torch.einsum("i,j,ijk->k", weight, weight, between)
    outer = torch.zeros(num_bins, dtype=torch.float64)
    outer[0] += 1
    outer[-1] += 1
    mean = (inner * (num_draws - 2) + outer) / num_draws
    assert math.isclose(mean.sum().item(), 1, abs_tol=1e-9)
    return tuple(mean.tolist())
