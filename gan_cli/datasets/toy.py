"""Two-dimensional mixtures of Gaussians, whose modes can be counted."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gan_cli.data import Modes, TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.seeding import mix


@dataclass(frozen=True, kw_only=True)
class Mixture(Dataset):
    """Equally likely round Gaussians of standard deviation `std`, as images [2, 1, 1] in their own units.

    The points are the same at every load. Raises ValueError for a setting outside its range.
    """

    std: float
    points_per_mode: int

    stored = torch.float32

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ValueError(f"std={self.std} must be above 0")
        if self.points_per_mode < 1:
            raise ValueError(f"points_per_mode={self.points_per_mode} must be at least 1")

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

    num_modes: int
    radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_modes < 1:
            raise ValueError(f"num_modes={self.num_modes} must be at least 1")

    def centers(self) -> Tensor:
        angles = torch.arange(self.num_modes) * (2 * math.pi / self.num_modes)
        return self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)


@dataclass(frozen=True, kw_only=True)
class Grid(Mixture):
    """A square grid of `side` x `side` Gaussians around the origin (AdvLatGAN, RealnessGAN)."""

    side: int
    spacing: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 1:
            raise ValueError(f"side={self.side} must be at least 1")

    def centers(self) -> Tensor:
        line = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return torch.cartesian_prod(line, line)
