"""The standard GAN (Goodfellow et al. 2014, arXiv:1406.2661)."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch.nn.functional import binary_cross_entropy, softplus

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class StdGAN(Objective):
    """Binary classification of real against fake, on logits (Goodfellow et al. 2014, equation 1).

    `saturating` gives the generator the minimax loss of equation 1; otherwise it maximises log D(G(z)) (section 3).
    A `real_target` below 1 is one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498, section 3.4): the
    probability that the discriminator is taught for real images. Raises ValueError unless it is in (0, 1].
    """

    saturating: bool
    real_target: Annotated[float, Interval(gt=0, le=1)] = (
        1.0  # a default, so that StdGAN(saturating=...) alone is the paper's
    )

    generator_reads_real = False

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        toward_real = self.real_target * softplus(-real_logits) + (1 - self.real_target) * softplus(real_logits)
        return toward_real.mean() + softplus(fake_logits).mean()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return -softplus(fake_logits).mean() if self.saturating else softplus(-fake_logits).mean()

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        """The KL divergence between the two probabilities of being real, in nats."""
        odds, other_odds = self.score(logits), self.score(others)
        return torch.sigmoid(odds) * (odds - other_odds) - softplus(odds) + softplus(other_odds)

    def undecided_score(self) -> float:
        """The logit of s / 2, for a target s of real images: 0 for s = 1."""
        return math.log(self.real_target / (2 - self.real_target))

    def equilibrium_loss(self) -> float:
        """Of targets s and 0 in equal numbers the best prediction is s / 2: twice its entropy, 2 log 2 for s = 1."""
        s = self.real_target
        return -s * math.log(s / 2) - (2 - s) * math.log(1 - s / 2)

    def perfect_loss(self) -> float:
        """The entropy of the smoothed target of real images."""
        return binary_cross_entropy(torch.tensor(self.real_target), torch.tensor(self.real_target)).item()
