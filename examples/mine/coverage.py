"""Coverage (Naeem et al. 2020, arXiv:2002.09797, equation 6): how much of the data has a generated image near it."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from gan_cli.metrics import Metric, Sample


@dataclass(frozen=True, kw_only=True)
class Coverage(Metric):
    """The fraction of real images with a generated one nearer than their `neighbours`-th nearest real one."""

    neighbours: Annotated[int, Ge(1)]

    key = "coverage"
    better = "higher"

    def measure(self, fake: Sample, real: Sample) -> float:
        covered = [self.covered(rows, fake.features, real.features) for rows in real.features.split(1000)]
        return torch.cat(covered).double().mean().item()

    def covered(self, rows: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        radius = torch.cdist(rows, real).kthvalue(self.neighbours + 1).values  # the nearest real image is itself
        return torch.cdist(rows, fake).min(1).values < radius
