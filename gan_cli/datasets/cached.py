"""Prepared images on disk: pixels as bytes, labels, and a manifest that says what they were made from.

Nothing of it is believed: sizes, labels and a sample of the pixels are checked at every start. It is a check against
damage and files of another origin; whoever can write the cache can also write the manifest.
"""

import hashlib
import os
import random
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from typing_extensions import TypedDict

from gan_cli.data import TrainingSet
from gan_cli.errors import one_line
from gan_cli.files import read_json, sha256
from gan_cli.shapes import Stored
from gan_cli.text import printable
from gan_cli.work import in_background

PIXELS, LABELS, MANIFEST = "pixels.u8", "labels.npy", "manifest.json"
MOST_MANIFEST_BYTES = 2**26
BLOCK_BYTES = 2**20  # of pixels under one hash, or one image if that is larger
CHECKED_BLOCKS = 8  # at every start, at random
HASH_DIGITS = 16  # of a block's SHA-256


class Manifest(TypedDict):
    """What is prepared; `key` is the SHA-256 of source and transform, `skipped` names broken files and their faults."""

    key: str
    source: dict[str, str]
    transform: dict[str, str | int | None]
    shape: list[Annotated[int, Ge(1), Le(2**40)]]
    sha256: str
    labels_sha256: str
    blocks: list[str]
    skipped: list[str]


class BlockHashes:
    """The digests of pixels that are written image by image: of all, and of blocks of a fixed number of images."""

    def __init__(self, image_shape: Sequence[int]) -> None:
        self.images_per_block = images_per_block(image_shape)
        self.whole = hashlib.sha256()
        self.block = hashlib.sha256()
        self.count = 0
        self.blocks: list[str] = []

    def add(self, image: bytes) -> None:
        self.whole.update(image)
        self.block.update(image)
        self.count += 1
        if self.count % self.images_per_block == 0:
            self.end_block()

    def end_block(self) -> None:
        self.blocks.append(self.block.hexdigest()[:HASH_DIGITS])
        self.block = hashlib.sha256()

    def finish(self) -> tuple[str, list[str]]:
        if self.count % self.images_per_block:
            self.end_block()
        return self.whole.hexdigest(), self.blocks


def count_of(folder: Path) -> int | None:
    """The number of images that are prepared here, as the manifest says; None if there is none that can be read."""
    try:
        manifest: Manifest = read_json(folder / MANIFEST, Manifest, MOST_MANIFEST_BYTES)
    except (OSError, ValueError):
        return None
    return manifest["shape"][0] if manifest["shape"] else None


def images_per_block(image_shape: Sequence[int]) -> int:
    return max(1, BLOCK_BYTES // int(np.prod(image_shape)))


def read_prepared(
    folder: Path, key: str, image_shape: Sequence[int], whole: bool
) -> tuple[TrainingSet, list[str]] | None:
    """The images prepared under this key and the broken files among them, or None if they have to be prepared.

    `whole` checks every pixel, not a sample. What is damaged or foreign is said in a warning.
    """
    if not os.path.lexists(folder):
        return None
    try:
        return checked(folder, key, image_shape, whole)
    except (OSError, ValueError) as error:
        warnings.warn(f"preparing images again: {one_line(error)}", stacklevel=2)
        return None


def checked(folder: Path, key: str, image_shape: Sequence[int], whole: bool) -> tuple[TrainingSet, list[str]]:
    manifest: Manifest = read_json(folder / MANIFEST, Manifest, MOST_MANIFEST_BYTES)
    shape = manifest["shape"]
    if manifest["key"] != key or len(shape) != 4 or shape[1:] != list(image_shape):
        raise ValueError(f"{printable(folder)} was made from something else")
    pixels = folder / PIXELS
    status = pixels.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != shape[0] * int(np.prod(image_shape)):
        raise ValueError(f"{printable(pixels)} does not hold {shape[0]:,} images")
    values = mapped(pixels, shape)
    labels = read_labels(folder / LABELS, shape[0], manifest["labels_sha256"])
    rows = images_per_block(image_shape)
    if len(manifest["blocks"]) != -(-shape[0] // rows):
        raise ValueError(f"{printable(folder / MANIFEST)} does not hold one hash for each block")
    for number in random.Random().sample(range(len(manifest["blocks"])), min(CHECKED_BLOCKS, len(manifest["blocks"]))):
        block = values[number * rows : (number + 1) * rows].numpy()
        if hashlib.sha256(block.data).hexdigest()[:HASH_DIGITS] != manifest["blocks"][number]:
            raise ValueError(f"{printable(pixels)} is not what was written")
    if whole and in_background("verifying the prepared images", sha256, pixels) != manifest["sha256"]:
        raise ValueError(f"{printable(pixels)} is not what was written")
    return TrainingSet(values, labels, digest=manifest["sha256"]), manifest["skipped"]


def mapped(path: Path, shape: Sequence[int]) -> Stored:
    """The file's bytes, mapped read-only: a writable mapping would have to fit into memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r", shape=tuple(shape)))


def read_labels(path: Path, count: int, expected_sha256: str) -> torch.Tensor:
    """One label for each image, -1 or a class; raises OSError and ValueError."""
    if not stat.S_ISREG(path.stat().st_mode) or sha256(path) != expected_sha256:
        raise ValueError(f"{printable(path)} is not what was written")
    labels = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header may claim any size
    if labels.dtype != np.int64 or labels.shape != (count,) or not (-1 <= labels.min() <= labels.max() < 2**31):
        raise ValueError(f"{printable(path)} does not hold one class for each image")
    return torch.from_numpy(np.array(labels))
