"""Counting the modes of a toy mixture (Srivastava et al. 2017, VEEGAN, arXiv:1705.07761, section 5.1)."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.metrics.metrics import Metrics, Protocol, Scorer, Subject
from gan_cli.seeding import mix
from gan_cli.shapes import Stored


@dataclass(frozen=True, kw_only=True)
class ModeMetrics(Metrics):
    """A point is of high quality within `max_deviations` standard deviations of the nearest mode."""

    max_deviations: Annotated[float, Gt(0)]

    def against(self, training_set: TrainingSet, num_fake: int) -> "ModeScorer":
        if training_set.modes is None:
            raise ValueError("mode metrics count the modes of a toy mixture: use dataset=ring, grid or grid3")
        radius = self.max_deviations * training_set.modes.std
        return ModeScorer(training_set.modes.centers, radius, training_set.values.cpu(), self.max_deviations)


@dataclass(frozen=True)
class ModeScorer(Scorer):
    centers: Tensor
    radius: float
    real: Stored
    max_deviations: float

    leading = "modes_covered"
    headlines = ("modes_covered",)
    directions = MappingProxyType({"modes_covered": "higher", "high_quality_fraction": "higher", "mode_kl": "lower"})

    @property
    def protocol(self) -> Protocol:
        return {"num_real": len(self.real), "high_quality_deviations": self.max_deviations}

    def score(self, subject: Subject) -> dict[str, float]:
        """`modes_covered` (with at least one point of high quality), `high_quality_fraction`, and `mode_kl`: the

        KL divergence, in nats, of the points' shares over their nearest modes from the uniform one.
        """
        return self.count(subject.images.cpu())

    def count(self, points: Stored) -> dict[str, float]:
        distance, nearest = torch.cdist(points.flatten(1).double(), self.centers.double()).min(1)
        good = distance <= self.radius
        shares = nearest.bincount(minlength=len(self.centers)).double() / len(points)
        return {
            "modes_covered": float(len(nearest[good].unique())),
            "high_quality_fraction": good.double().mean().item(),
            "mode_kl": (torch.special.xlogy(shares, shares * len(self.centers))).sum().item(),
        }

    def floor(self) -> dict[str, float]:
        order = torch.randperm(len(self.real), generator=torch.Generator().manual_seed(mix("floor")))
        return self.count(self.real[order[: len(self.real) // 2]])
