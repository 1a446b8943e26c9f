"""Three digits in the three colour channels: 1,000 modes of equal weight (Metz et al. 2017, arXiv:1611.02163)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge

from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset, Probed
from gan_cli.datasets.decoding import Budget, Content
from gan_cli.datasets.digits import Digits
from gan_cli.datasets.labelled import LabelledDataset
from gan_cli.datasets.torchvision_set import TorchvisionSet
from gan_cli.seeding import mix
from gan_cli.shapes import unlabelled


@dataclass(frozen=True, kw_only=True)
class Stacked(LabelledDataset):
    """`num_images` images [3, image_size, image_size] without labels, each of three grey ones.

    For each channel a class is drawn uniformly, then an image of that class; `stack_seed` draws. Held-out images are
    stacked of digits that training never sees. Raises ValueError for digits without labels.
    """

    num_images: Annotated[int, Ge(1)]
    stack_seed: Annotated[int, Ge(0)]

    def arranged(self, images: TrainingSet) -> TrainingSet:
        given = (images.labels >= 0).nonzero().flatten()
        by_class = given[images.labels[given].argsort(stable=True)]
        counts = images.labels[given].bincount()
        if not len(given) or not bool((counts > 0).all()):
            raise ValueError("a stack of digits needs an image of every class: take more of them")
        generator = torch.Generator().manual_seed(mix("stacked", self.stack_seed))
        size = (self.num_images, 3)
        classes = torch.randint(len(counts), size, generator=generator)
        place = (torch.rand(size, generator=generator, dtype=torch.float64) * counts[classes]).long()
        rows = by_class[(counts.cumsum(0) - counts)[classes] + place]
        return TrainingSet(images.values[rows.flatten(), 0].unflatten(0, size), unlabelled(self.num_images))

    def probe(self) -> Probed:
        (_, height, width), _ = super().probe()
        return Probed((3, height, width), self.num_images)

    def decode_given(self, content: Content, budget: Budget, image_shape: tuple[int, int, int]) -> np.ndarray | str:
        return Dataset.decode_given(self, content, budget, image_shape)

    @property
    def part(self) -> dict[str, str | int | float]:
        return super().part | {"num_stacked": self.num_images, "stack_seed": self.stack_seed}


@dataclass(frozen=True, kw_only=True)
class StackedMNIST(Stacked, TorchvisionSet):
    """Stacks of MNIST's digits, which `TorchvisionSet` reads."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size


@dataclass(frozen=True, kw_only=True)
class StackedDigits(Stacked, Digits):
    """Stacks of the embedded digits, for studies without a download."""
