"""Handwritten digits, embedded: 1,797 real images that need no download.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine Learning Repository,
doi:10.24432/C50P49, CC BY 4.0), as scikit-learn ships it: 8 x 8 grey images of ten classes.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from sklearn.datasets import load_digits

from gan_cli.data import TrainingSet, resize
from gan_cli.datasets.labelled import LabelledDataset


@dataclass(frozen=True, kw_only=True)
class Digits(LabelledDataset):
    """All 1,797 digits, [1, image_size, image_size]; grey values 0 to 16 become 0 to 255, then the size changes."""

    image_size: Annotated[int, Ge(1)]

    def every_image(self) -> TrainingSet:
        digits = load_digits()
        pixels = torch.tensor(digits.images / 16 * 255).round().to(torch.uint8)[:, None]
        return TrainingSet(resize(pixels, self.image_size), torch.tensor(digits.target, dtype=torch.long))

    @property
    def protocol(self) -> dict[str, str | int | float]:
        size: dict[str, str | int | float] = {"image_size": self.image_size, "resize": "bilinear, antialiased"}
        return {"dataset": "digits", "split": "all"} | size | self.part
