from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge

from gan_cli.data import TrainingSet, resize
from gan_cli.datasets import Dataset
from gan_cli.shapes import unlabelled


@dataclass(frozen=True, kw_only=True)
class NumpyFile(Dataset):
    """The images of a file that numpy.save has written: bytes, [images, height, width, channels]."""

    root: str
    image_size: Annotated[int, Ge(1)]

    def load(self) -> TrainingSet:
        pixels = torch.from_numpy(np.load(self.root)).permute(0, 3, 1, 2)
        return TrainingSet(resize(pixels, self.image_size), unlabelled(len(pixels)))

    @property
    def protocol(self) -> dict[str, str | int | float]:
        return {
            "dataset": "numpy_file",
            "split": "all",
            "image_size": self.image_size,
            "resize": "bilinear, antialiased",
        }
