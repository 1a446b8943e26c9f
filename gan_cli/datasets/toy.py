"""Mixtures of Gaussians in one or two dimensions, whose modes can be counted."""

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
    """Round Gaussians of standard deviation `std`, as images [dimensions, 1, 1] in their own units.

    `points_per_mode` is the mean over modes. The points are the same at every load. Raises ValueError for a setting
    outside its range.
    """

    std: Annotated[float, Gt(0)]
    points_per_mode: Annotated[int, Ge(1)]

    stored = torch.float32

    @abstractmethod
    def centers(self) -> Tensor:
        """The modes, [modes, dimensions]."""

    def shares(self) -> Tensor:
        """The share of each mode, [modes]: the same."""
        num_modes = len(self.centers())
        return torch.full((num_modes,), 1 / num_modes)

    def load(self) -> TrainingSet:
        centers, shares = self.centers(), self.shares()
        counts = (shares.double() * (len(centers) * self.points_per_mode)).round().long()
        labels = torch.arange(len(centers)).repeat_interleave(counts)
        generator = torch.Generator().manual_seed(mix("mixture"))
        points = centers[labels] + self.std * torch.randn(len(labels), centers.shape[1], generator=generator)
        return TrainingSet(points[:, :, None, None], labels, Modes(centers, self.std, shares))

    @property
    def protocol(self) -> dict[str, str | int | float]:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "metrics"}
        for name, value in values.items():
            values[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
        return {"dataset": type(self).__name__.lower(), "split": "all"} | values


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


@dataclass(frozen=True, kw_only=True)
class Line(Mixture):
    """Gaussians on a line, around `means`, with the shares `weights` (f-GAN, Nowozin et al. 2016, section 2.4)."""

    means: list[float]
    weights: list[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.means) != len(self.weights) or min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(
                f"weights={self.weights} must be a positive share for each of means={self.means}, 1 in sum"
            )

    def centers(self) -> Tensor:
        return torch.tensor(self.means)[:, None]

    def shares(self) -> Tensor:
        return torch.tensor(self.weights)
