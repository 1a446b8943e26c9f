"""Two-dimensional mixtures of Gaussians, whose modes can be counted."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gan_cli.data import Modes, TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.seeding import mix


@dataclass(frozen=True, kw_only=True)
class Mixture(Dataset):
    """Equally likely round Gaussians of standard deviation `std`, as images [2, 1, 1] in their own units.

    The points are the same at every load. Raises ValueError for a setting outside its range.
    """

    std: Annotated[float, Gt(0)]
    points_per_mode: Annotated[int, Ge(1)]

    stored = torch.float32

    @abstractmethod
    def centers(self) -> Tensor:
        """The modes, [modes, 2]."""

    def load(self) -> TrainingSet:
        centers = self.centers()
        labels = torch.arange(len(centers)).repeat_interleave(self.points_per_mode)
        noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(mix("mixture")))
        points = centers[labels] + self.std * noise
        return TrainingSet(points[:, :, None, None], labels, Modes(centers, self.std))

    @property
    def protocol(self) -> dict[str, str | int | float]:
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "metrics"}
        return {"dataset": type(self).__name__.lower(), "split": "all"} | settings


@dataclass(frozen=True, kw_only=True)
class Ring(Mixture):
    """`num_modes` Gaussians evenly spaced on a circle (AdvLatGAN, Li et al. 2022)."""

    num_modes: Annotated[int, Ge(1)]
    radius: float

    def centers(self) -> Tensor:
        angles = torch.arange(self.num_modes) * (2 * math.pi / self.num_modes)
        return self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)


@dataclass(frozen=True, kw_only=True)
class Grid(Mixture):
    """A square grid of `side` x `side` Gaussians around the origin (AdvLatGAN, RealnessGAN)."""

    side: Annotated[int, Ge(1)]
    spacing: float

    def centers(self) -> Tensor:
        line = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return torch.cartesian_prod(line, line)
