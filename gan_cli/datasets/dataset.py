"""Real images: decoded once into one tensor, so that a batch is an index."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_cli import pictures
from gan_cli.metrics.metrics import Metrics
from gan_cli.shapes import Images, Labels, Scores, Stored

Score = Callable[[Images], Scores]


@dataclass(frozen=True)
class Batch:
    """Real images in [-1, 1] and their labels (-1: unlabelled)."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Table:
    """A whole data set: pixels as bytes, or toy points as floats, and a label for each."""

    values: Stored
    labels: Labels

    def __len__(self) -> int:
        return len(self.values)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.values.shape[1:]
        return channels, height, width

    def batch(self, rows: Tensor) -> Batch:
        rows = rows.to(self.values.device)
        return Batch(decode(self.values[rows]), self.labels[rows])

    def to(self, device: torch.device) -> "Table":
        return Table(self.values.to(device), self.labels.to(device))


def decode(values: Stored) -> Images:
    """Bytes to [-1, 1]; toy points are images as they are."""
    return values / 127.5 - 1 if values.dtype == torch.uint8 else values


def encode(images: Images, dtype: torch.dtype) -> Stored:
    """The inverse of `decode`, on what a generator makes: clamped, then rounded to the nearest byte."""
    if dtype != torch.uint8:
        return images.to(dtype)
    return images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


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

    def draw(self, path: Path, values: Stored, score: Score | None) -> None:
        """One picture of `values`; `score` is the discriminator's, for those who can show it."""
        pictures.save_grid(path, values)

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
