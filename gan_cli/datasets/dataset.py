"""Where real images come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from gan_cli.data import TrainingSet
from gan_cli.metrics.metrics import Metrics
from gan_cli.ranges import Ranged
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Dataset(Ranged, ABC):
    """Where real images come from, and how generated ones are scored against them."""

    metrics: Metrics
    stored: ClassVar[torch.dtype] = torch.uint8  # of the training set's values

    @abstractmethod
    def load(self) -> TrainingSet:
        """Every image; raises ValueError, with the way out, where they cannot be had."""

    @property
    @abstractmethod
    def protocol(self) -> dict[str, str | int | float]:
        """What a score on this data depends on: its name, split, resolution and resize."""

    def augment(self, images: Images) -> Images:
        """What is done to real images each time they are trained on, with the step's randomness."""
        return images
