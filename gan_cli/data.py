"""Real images in memory: decoded once into one tensor, which batches are indexed from."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from gan_cli.engine import CPU, Engine
from gan_cli.shapes import Examples, Images, Labels, Stored, unlabelled
from gan_cli.work import track

HASHED_BYTES = 2**26  # at a time
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Modes:
    """The centers of a toy mixture's Gaussians, [modes, dimensions], their standard deviation, and their shares."""

    centers: Float[Tensor, "modes dimensions"]
    std: float
    weights: Float[Tensor, " modes"]


@dataclass(frozen=True)
class ClassLaw:
    """The classes of generated images: as frequent as in the data, of which `counts` has each class's images.

    Without counts, images have no label.
    """

    counts: tuple[int, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    def spread(self, count: int) -> list[int]:
        """At most `count` classes that have images, evenly spaced over all."""
        there = [number for number, images in enumerate(self.counts) if images]
        rows = torch.linspace(0, len(there) - 1, min(count, len(there))).round().long()
        return [there[row] for row in rows.tolist()]

    def labels(self, numbers: Sequence[int]) -> Labels:
        """The labels of the images with these numbers: an image's label depends on its number alone.

        Fractional parts of n times the golden ratio are spread evenly over [0, 1) (Weyl 1916), so any run of images has
        each class about as often as the data, without chance.
        """
        if not self.counts:
            return unlabelled(len(numbers))
        position = torch.tensor(numbers, dtype=torch.float64).mul(GOLDEN).add(0.5).remainder(1)
        ends = torch.tensor(self.counts, dtype=torch.float64).cumsum(0) / sum(self.counts)
        return torch.searchsorted(ends, position, right=True).clamp(max=len(ends) - 1)


@dataclass(frozen=True)
class TrainingSet:
    """A whole data set: pixels as bytes, or toy points as floats with their modes, and a label for each.

    The values may be a file mapped into memory; batches are made on `device`. `digest` is the SHA-256 of the values,
    if it is known. `held_out` are images that no training sees, for metrics that read some.
    """

    values: Stored
    labels: Labels
    modes: Modes | None = None
    digest: str | None = None
    device: torch.device = CPU
    held_out: "TrainingSet | None" = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.values.shape[1:]
        return channels, height, width

    def batch(self, rows: Tensor) -> Examples:
        return self.decoded(*self.gathered(rows))

    def gathered(self, rows: Tensor) -> tuple[Stored, Labels]:
        """The stored images of these rows and their labels, on `device`."""
        rows = rows.to(self.values.device)
        return self.values[rows].to(self.device), self.labels[rows].to(self.device)

    def decoded(self, values: Stored, labels: Labels) -> Examples:
        return Examples(decode(values), labels)

    @property
    def num_classes(self) -> int:
        """Classes are numbered from 0; none of the images may have a label."""
        return int(self.labels.max()) + 1

    @property
    def class_counts(self) -> list[int]:
        """The images of each class; empty if none has a label."""
        counts: list[int] = self.labels[self.labels >= 0].bincount().tolist()
        return counts

    def without_labels(self) -> "TrainingSet":
        return replace(self, labels=torch.full_like(self.labels, -1))

    def identified(self) -> "TrainingSet":
        """With the digest of the values, which is computed if it is not known."""
        return self if self.digest is not None else replace(self, digest=sha256_of(self.values, "real images"))

    def to_engine(self, engine: Engine) -> "TrainingSet":
        """All values on the engine's device if they fit; otherwise each batch is copied to it."""
        if not engine.holds(self.values.nbytes):
            return replace(self, device=engine.device)
        values, labels = self.values.to(engine.device), self.labels.to(engine.device)
        return replace(self, values=values, labels=labels, device=engine.device)


def sha256_of(values: Stored, what: str) -> str:
    """The digest of the values in row order; progress calls them `what`."""
    digest = hashlib.sha256()
    rows = max(1, HASHED_BYTES // max(1, values[:1].nbytes))
    for piece in track(values.split(rows), f"hashing the {what}"):
        digest.update(piece.cpu().contiguous().numpy())
    return digest.hexdigest()


def decode(values: Stored) -> Images:
    """Bytes to [-1, 1]; toy points are not changed."""
    return values / 127.5 - 1 if values.dtype == torch.uint8 else values


def encode(images: Images, dtype: torch.dtype) -> Stored:
    """The inverse of `decode`, for generated images: clamped, then rounded to the nearest byte."""
    if dtype != torch.uint8:
        return images.to(dtype)
    return images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def resize(pixels: Stored, size: int) -> Stored:
    """Bytes [.., height, width] to [.., size, size], bilinear and antialiased."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    resized = interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
