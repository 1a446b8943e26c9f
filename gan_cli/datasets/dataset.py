"""Where real images come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch.nn.functional import interpolate

from gan_cli.data import Table
from gan_cli.metrics.metrics import Metrics
from gan_cli.runs import pictures
from gan_cli.shapes import Images, Scores, Stored

Score = Callable[[Images], Scores]


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Where real images come from, how they are scored against, and how a picture of them is drawn."""

    metrics: Metrics
    stored: ClassVar[torch.dtype] = torch.uint8  # of the table's values
    num_drawn: ClassVar[int] = 64  # images in a picture

    @abstractmethod
    def load(self) -> Table:
        """Every image; raises ValueError, with the way out, where they cannot be had."""

    @property
    @abstractmethod
    def protocol(self) -> dict[str, str | int | float]:
        """What a score on this data depends on: its name, split, resolution and resize."""

    def augment(self, images: Images) -> Images:
        """What is done to real images each time they are trained on, with the step's randomness."""
        return images

    def draw(self, path: Path, fake: Stored, score: Score) -> None:
        """One picture of generated images; `score` is the discriminator's, for those who can show it."""
        pictures.save_grid(path, fake)

    def draw_real(self, path: Path, real: Stored) -> None:
        pictures.save_grid(path, real)

    def write(self, folder: Path, values: Stored) -> None:
        """Every image as a file of its own, named by its number."""
        for number, image in enumerate(values):
            pictures.save_image(folder / f"{number:06d}.png", image)


def resize(pixels: Stored, size: int) -> Stored:
    """Bytes [.., height, width] to [.., size, size], bilinear and antialiased."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    resized = interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def check_size(image_size: int) -> None:
    if image_size < 1:
        raise ValueError(f"image_size={image_size} must be at least 1")
