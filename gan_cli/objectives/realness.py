"""RealnessGAN (Xiangli et al. 2020, arXiv:2002.05512): realness is a distribution, not one number."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn

from gan_cli.kept import kept
from gan_cli.networks import Outer
from gan_cli.objectives.objective import Objective
from gan_cli.seeding import mix
from gan_cli.shapes import Labels, Logits, Loss, Outputs, Scores

Side = Literal["real", "fake"]
SIDES: tuple[Side, Side] = ("real", "fake")


@dataclass(frozen=True, kw_only=True)
class Realness(Objective):
    """The discriminator predicts a distribution over `num_outcomes` atoms; each side has an anchor to match.

    The atoms are evenly spaced on [support_min, support_max]. The anchors A0 (fake) and A1 (real) are histograms of
    random draws, each over its own range (so their scale is irrelevant): of normal and uniform draws where
    `anchor_shape` is `normal_uniform`, else of skew-normal draws of shape -`anchor_skewness` and +`anchor_skewness`.
    Each is then moved along the support by its skew, which is in the unit of the outcomes: the atoms are
    (support_max - support_min) / (num_outcomes - 1) apart. `anchors` says what the histograms are: `resampled` at every
    loss, `resampled_each_step` for both players, as in the authors' code, `fixed` by one draw from `anchor_seed`, or
    `expected`, their exact mean.

    The generator's loss is equation 18, 19 or 20 of the paper for `generator_objective` 1, 2 or 3. Equation 19 compares
    each fake prediction with a real one: the batch mean of them, or that of the same row where `pairing` is `index`.
    Losses are cross entropies: the paper's KL divergences plus the anchors' entropies, which carry no gradient.

    `feature_resampling` draws the logits of every training pass from a normal distribution whose mean and variance
    the discriminator predicts (the authors' second head); at rest they are the mean.

    Raises ValueError for a setting outside its range.
    """

    num_outcomes: int = field()  # not the inherited 1
    generator_objective: Literal[1, 2, 3]
    pairing: Literal["mean", "index"]
    anchors: Literal["resampled", "resampled_each_step", "fixed", "expected"]
    anchor_shape: Literal["normal_uniform", "skewed_normal"]
    anchor_skewness: float
    num_anchor_samples: Annotated[int, Interval(ge=2, le=10_000_000)]
    anchor_seed: int
    support_min: float
    support_max: float
    real_skew: float
    fake_skew: float
    feature_resampling: bool
    step_anchors: "StepAnchors | None" = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_outcomes < 2:
            raise ValueError(
                f"num_outcomes={self.num_outcomes} must be at least 2: one outcome cannot tell real from fake"
            )
        if not self.support_min < self.support_max:
            raise ValueError(f"support_min={self.support_min} must be below support_max={self.support_max}")
        if self.anchors == "resampled_each_step":
            object.__setattr__(self, "step_anchors", StepAnchors(self.num_outcomes))

    def before_step(self, device: torch.device, step: int) -> None:
        if self.step_anchors is not None:
            for side in SIDES:
                draws = self.law(side).draw(self.num_anchor_samples, None, device)
                getattr(self.step_anchors, side).copy_(histogram(draws, self.num_outcomes))

    @property
    def compares_images(self) -> bool:  # type: ignore[override]
        return self.generator_objective == 2 and self.pairing == "mean"

    @property
    def generator_reads_real(self) -> bool:  # type: ignore[override]
        return self.generator_objective == 2

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        toward_real = cross_entropy(self.real_anchor(real_logits), real_logits)
        toward_fake = cross_entropy(self.fake_anchor(fake_logits), fake_logits)
        return toward_real + toward_fake

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        away_from_fake = -cross_entropy(self.fake_anchor(fake_logits), fake_logits)
        if self.generator_objective == 1:
            return away_from_fake
        if self.generator_objective == 2:
            assert real_logits is not None
            return cross_entropy(self.paired(real_logits, fake_logits), fake_logits) + away_from_fake
        return cross_entropy(self.real_anchor(fake_logits), fake_logits) + away_from_fake

    def paired(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """What each fake prediction is compared with in equation 19, without a gradient: [outcomes] or a row for each.

        The mean over real images has the expectation of an arbitrary pairing, and less variance.
        """
        real = real_logits.softmax(1).detach()
        if self.pairing == "mean":
            return real.mean(0)
        if len(real) != len(fake_logits):
            raise ValueError(f"pairs need as many real images as fake ones, not {len(real)} and {len(fake_logits)}")
        return real

    def score(self, logits: Logits) -> Scores:
        """<A1 - A0, logits> for the mean anchors: how much better the real one fits than the fake one.

        Linear in the logits, so that a confident discriminator still has a slope to penalise; with two outcomes and
        one-atom anchors it is the standard GAN's logit.
        """
        real_anchor, fake_anchor = self.mean_anchors(logits)
        return logits @ (real_anchor - fake_anchor)

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        """The KL divergence between the two distributions over outcomes, in nats."""
        log_p, log_q = logits.log_softmax(1), others.log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1)

    def equilibrium_loss(self) -> float:
        """Twice the entropy of the anchors' mean (theorem 1); a loss less this is their KL divergences less 2 JS."""
        middle = sum(self.mean_anchors(torch.zeros(1, dtype=torch.float64))) / 2
        return -2 * torch.special.xlogy(middle, middle).sum().item()

    def perfect_loss(self) -> float:
        """The entropies of both mean anchors."""
        anchors = self.mean_anchors(torch.zeros(1, dtype=torch.float64))
        return -sum(torch.special.xlogy(anchor, anchor).sum().item() for anchor in anchors)

    def facts(self) -> dict[str, float]:
        """Also KL(A1 || A0) and the Jensen-Shannon divergence of the mean anchors, in nats.

        An atom that A0 leaves empty counts as 1e-16, as in the authors' code; their divergence would be infinite.
        """
        real_anchor, fake_anchor = self.mean_anchors(torch.zeros(1, dtype=torch.float64))
        kl = torch.special.xlogy(real_anchor, (real_anchor + 1e-16) / (fake_anchor + 1e-16)).sum().item()
        return super().facts() | {"anchor_kl": kl, "anchor_js": (self.equilibrium_loss() - self.perfect_loss()) / 2}

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        if self.feature_resampling:
            return ResamplingHead(discriminator(2 * self.num_outcomes))
        return super().head(discriminator)

    def mean_anchors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """A1 and A0, or their exact means where they are drawn again and again."""
        if self.anchors == "fixed":
            return self.real_anchor(like), self.fake_anchor(like)
        real, fake = (self.expected(side, like) for side in SIDES)
        return real @ self.shift(self.real_skew, like), fake @ self.shift(self.fake_skew, like)

    def real_anchor(self, like: Tensor) -> Tensor:
        """A1, [outcomes], moved by `real_skew`."""
        return self.histogram("real", like) @ self.shift(self.real_skew, like)

    def fake_anchor(self, like: Tensor) -> Tensor:
        """A0, [outcomes], moved by `fake_skew`."""
        return self.histogram("fake", like) @ self.shift(self.fake_skew, like)

    def law(self, side: Side) -> "Law":
        if self.anchor_shape == "skewed_normal":
            return Law("skewed_normal", self.anchor_skewness if side == "real" else -self.anchor_skewness)
        return Law("uniform" if side == "real" else "normal")

    def histogram(self, side: Side, like: Tensor) -> Tensor:
        law, count = self.law(side), self.num_anchor_samples
        if self.anchors == "expected":
            return self.expected(side, like)
        if self.anchors == "fixed":
            return fixed_tensor(law, count, self.num_outcomes, mix(side, self.anchor_seed), like.dtype, like.device)
        if self.step_anchors is not None:
            return getattr(self.step_anchors, side).to(like)
        return histogram(law.draw(count, None, like.device), self.num_outcomes).to(like)

    def expected(self, side: Side, like: Tensor) -> Tensor:
        return expected_tensor(self.law(side), self.num_anchor_samples, self.num_outcomes, like.dtype, like.device)

    def shift(self, skew: float, like: Tensor) -> Tensor:
        return shift_tensor(self.support_min, self.support_max, self.num_outcomes, skew, like.dtype, like.device)


class StepAnchors(nn.Module):
    """The histograms of the present step; uniform before the first one, or before they are restored."""

    def __init__(self, num_outcomes: int) -> None:
        super().__init__()
        for side in SIDES:
            self.register_buffer(side, torch.full((num_outcomes,), 1 / num_outcomes))


class ResamplingHead(Outer):
    """Logits mu + exp(log_variance / 2) e, e ~ N(0, I) at every training pass, from a network that predicts both.

    Raises ValueError for a network whose class logits are made of all its outputs.
    """

    def __init__(self, network: nn.Module) -> None:
        if getattr(network, "classes_from_logits", False):
            raise ValueError(
                "feature_resampling=true has two outputs for each outcome, of which one is no logit, and these labels "
                "make class logits of all: set objective.feature_resampling=false or another discriminator_labels"
            )
        super().__init__(network)

    def forward(self, images: Tensor, *labels: Labels) -> Logits | Outputs:
        made = self.network(images, *labels)
        mean, log_variance = (made.logits if isinstance(made, Outputs) else made).chunk(2, dim=1)
        logits = mean + (log_variance / 2).exp() * torch.randn_like(mean) if self.training else mean
        return replace(made, logits=logits) if isinstance(made, Outputs) else logits


@dataclass(frozen=True)
class Law:
    """What an anchor is a histogram of; its scale does not matter, only its shape."""

    name: Literal["normal", "uniform", "skewed_normal"]
    skewness: float = 0.0

    def draw(self, count: int, generator: torch.Generator | None, device: torch.device | None = None) -> Tensor:
        if self.name == "uniform":
            return torch.rand(count, generator=generator, device=device)
        normal = torch.randn(count, generator=generator, device=device)
        if self.name == "normal":
            return normal
        # Azzalini 1985: the part of a normal variable that its correlation with a positive one makes skew
        correlation = self.skewness / math.hypot(1, self.skewness)
        positive = torch.randn(count, generator=generator, device=device).abs()
        return correlation * positive + math.sqrt(1 - correlation**2) * normal

    def distribution(self) -> Any:
        from scipy.stats import norm, skewnorm, uniform  # here, because the import takes its time

        return {"normal": norm, "uniform": uniform, "skewed_normal": skewnorm(self.skewness)}[self.name]

    def cdf(self, values: Any) -> Any:
        from scipy.special import ndtr, owens_t

        if self.name == "skewed_normal":  # scipy.stats has the same, a thousand times slower
            return ndtr(values) - 2 * owens_t(values, self.skewness)
        return self.distribution().cdf(values)


def cross_entropy(target: Tensor, logits: Logits) -> Loss:
    """KL(target || prediction) up to the target's entropy; one target [outcomes] for the batch, or a row for each."""
    return -(logits.log_softmax(1) * target).sum(1).mean()


def histogram(draws: Tensor, num_bins: int) -> Tensor:
    """The share of draws in each of `num_bins` equal bins between the smallest and the largest draw."""
    smallest, largest = draws.aminmax()
    bins = ((draws - smallest) / (largest - smallest) * num_bins).long().clamp(max=num_bins - 1)
    counts = torch.zeros(num_bins, device=draws.device)
    return counts.scatter_add_(0, bins, torch.ones_like(draws)) / len(draws)


@kept
def expected_tensor(law: Law, num_draws: int, num_bins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`expected_histogram` where it is used: copied from the host once, not in every step."""
    return torch.tensor(expected_histogram(law, num_draws, num_bins), dtype=dtype, device=device)


@kept
def fixed_tensor(
    law: Law, num_draws: int, num_bins: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The histogram of one draw, kept where it is used."""
    draws = law.draw(num_draws, torch.Generator().manual_seed(seed))
    return histogram(draws, num_bins).to(device=device, dtype=dtype)


@kept
def shift_tensor(
    lowest: float, highest: float, num_outcomes: int, skew: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """[outcomes, outcomes]: where the mass of each atom lands, split linearly between its two new neighbours.

    The categorical projection of Bellemare et al. 2017 (arXiv:1707.06887, equation 7); mass that leaves the support
    piles up on its end.
    """
    atoms = torch.linspace(lowest, highest, num_outcomes, dtype=dtype, device=device)
    position = ((atoms + skew).clamp(lowest, highest) - lowest) / ((highest - lowest) / (num_outcomes - 1))
    return (1 - (position[:, None] - torch.arange(num_outcomes, dtype=dtype, device=device)).abs()).clamp(min=0)


@lru_cache
def expected_histogram(law: Law, num_draws: int, num_bins: int) -> tuple[float, ...]:
    """The exact mean of `histogram` over samples of `num_draws`.

    The extremes fall into the outer bins; given them, the other draws are independent between them. The extremes'
    ranks are integrated over exactly: with p, q uniform on (0, 1), the smallest of n uniform draws is
    u = 1 - (1 - p)^(1/n), and the largest then u + (1 - u) q^(1/(n-1)).
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    p, weight = (nodes + 1) / 2, weights / 2
    low = -np.expm1(np.log1p(-p) / num_draws)[:, None]
    above = (1 - low) * -np.expm1(np.log(p) / (num_draws - 1))[None, :]  # 1 - high, without cancellation
    distribution = law.distribution()
    start, end = distribution.ppf(low), distribution.isf(above)
    fractions = np.linspace(0, 1, num_bins + 1)
    ranks = law.cdf(start[..., None] + (end - start)[..., None] * fractions)
    between = np.diff(ranks, axis=-1) / (ranks[..., -1:] - ranks[..., :1])
    mean = np.einsum("i,j,ijk->k", weight, weight, between) * (num_draws - 2)
    mean[0] += 1
    mean[-1] += 1
    assert math.isclose(mean.sum(), num_draws, rel_tol=1e-9)
    return tuple((mean / num_draws).tolist())
