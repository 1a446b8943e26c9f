"""Images of any size on disk, decoded once into one file of bytes that every later start maps into memory."""

import hashlib
import json
import os
import shutil
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image, ImageOps

from gan_cli.augmentations.flip import mirrored
from gan_cli.data import TrainingSet
from gan_cli.datasets.cached import LABELS, MANIFEST, PIXELS, BlockHashes, Manifest, checked, count_of, read_prepared
from gan_cli.datasets.dataset import Dataset, Probed
from gan_cli.datasets.decoding import DECODED_BYTES, Budget, Content, RefusedError, pixels_of
from gan_cli.datasets.source import Entry, Source
from gan_cli.errors import one_line
from gan_cli.files import cache_folder, remove, sha256, slug, sync, write_json
from gan_cli.shapes import Images
from gan_cli.text import printable
from gan_cli.work import alone, in_background, track

FORMAT = 2
CHUNK = 512  # images decoded at a time, or fewer that
WAITING_BYTES = 2**28  # take, read from an archive
MAX_NAMED = 20
FILTERS = {name: Image.Resampling[name.upper()] for name in ("lanczos", "bicubic", "bilinear", "box")}
TRANSFORM = ("image_size", "channels", "crop", "crop_size", "resize", "limit", "max_pixels")


@dataclass(frozen=True, kw_only=True)
class PreparedDataset(Dataset):
    """Images [channels, image_size, image_size], read into memory only when they are used.

    `crop=center` takes the central square of `crop_size` pixels (null: the shorter side); `none` stretches the image.
    `resize` is the filter, antialiased. `limit` takes that many images, evenly spaced over the whole set. In training,
    `horizontal_flip` mirrors each image with probability one half, and `dequantize` adds U[0, 1) / 128; scores use real
    images without either. Images are rotated upright by their EXIF tag; transparency is composited over white; 16-bit
    grey keeps its high byte. Broken files and those of more than `max_pixels` are all named in one error, or with
    `on_corrupt=skip` counted. What was prepared before is checked by a sample, or with `verify` as a whole.
    """

    image_size: Annotated[int, Ge(1)]
    channels: Literal[1, 3]
    crop: Literal["center", "none"]
    crop_size: Annotated[int, Ge(1)] | None
    resize: Literal["lanczos", "bicubic", "bilinear", "box"]
    horizontal_flip: bool
    dequantize: bool
    on_corrupt: Literal["error", "skip"]
    limit: Annotated[int, Ge(1)] | None
    max_pixels: Annotated[int, Ge(1), Le(178_956_970)]  # above, Pillow refuses
    verify: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop == "none" and self.crop_size is not None:
            raise ValueError("crop_size belongs to crop=center: remove it")

    @abstractmethod
    def source(self) -> Source:
        """The source of encoded images; raises ValueError, which says how to fix it, if there are none."""

    @property
    @abstractmethod
    def named(self) -> dict[str, str]:
        """The data set and its split, for the protocol; not the place of the images."""

    @property
    def protocol(self) -> dict[str, str | int | float]:
        crop = {"center": f"center crop {self.crop_size or ''}".strip(), "none": "stretched"}[self.crop]
        size: dict[str, str | int | float] = {"image_size": self.image_size}
        size["resize"] = f"{crop}, {self.resize}, antialiased"
        return self.named | size | ({} if self.limit is None else {"limit": self.limit})

    @property
    def prepared_shape(self) -> tuple[int, int, int]:
        """Of an image on disk; a data set may make others of them."""
        return self.channels, self.image_size, self.image_size

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prepared_shape

    def probe(self) -> Probed:
        """Opens what has not been prepared yet, and decodes nothing: the number of its images is not known."""
        source, _, folder = self.find()
        count = count_of(folder)
        if count is None:
            source.check()
        return Probed(self.image_shape, count)

    def find(self) -> tuple[Source, dict[str, Any], Path]:
        """The source, the key of its prepared images and their folder, which need not exist."""
        try:
            source = self.source()
            key = {"format": FORMAT, "source": source.identity(), "transform": {n: getattr(self, n) for n in TRANSFORM}}
        except OSError as error:
            raise ValueError(f"the images cannot be read: {one_line(error)}") from error
        name = f"{slug(source.name) or 'images'}-{self.image_size}-{digest_of(key)[:16]}"
        return source, key, cache_folder() / "datasets" / name

    def load(self) -> TrainingSet:
        source, key, folder = self.find()
        digest, shape = digest_of(key), self.prepared_shape
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            found = read_prepared(folder, digest, shape, self.verify)
            if found is None:
                lock = folder.with_name(f".{folder.name}.lock")
                with alone(lock, "prepares the same images", partial(self.so_far, folder)):
                    found = read_prepared(folder, digest, shape, self.verify)
                    if found is None:
                        self.prepare(source, key, folder)
                        found = checked(folder, digest, shape, whole=False)
        except OSError as error:
            where = f"{printable(folder.parent)}: free some space, or set GAN_CLI_CACHE to another folder"
            raise ValueError(f"the images cannot be prepared ({one_line(error)}) in {where}") from error
        training_set, skipped = found
        if skipped and self.on_corrupt == "error":
            raise ValueError(broken_files(skipped, len(training_set) + len(skipped)))
        if skipped:
            warnings.warn(f"{len(skipped)} broken image files are left out", stacklevel=2)
        return training_set

    def so_far(self, folder: Path) -> str:
        """How many images another process has prepared for this folder; empty before it has begun."""
        try:
            size = (unfinished(folder) / PIXELS).stat().st_size
        except OSError:
            return ""
        return f", {size // int(np.prod(self.prepared_shape)):,} so far"

    def prepare(self, source: Source, key: dict[str, Any], folder: Path) -> None:
        """Decodes everything with all cores into a temporary folder, which then replaces `folder`."""
        entries = source.entries()
        chosen = np.linspace(0, len(entries) - 1, min(self.limit or len(entries), len(entries))).round().astype(int)
        entries = [entries[index] for index in chosen]
        temporary = unfinished(folder)
        for leftover in folder.parent.glob(f".{folder.name}.*partial"):  # of a killed process: this one holds the lock
            remove(leftover)
        temporary.mkdir()
        try:
            labels, skipped, hashes = self.decode_all(temporary / PIXELS, entries, source.contents(chosen.tolist()))
            if skipped and self.on_corrupt == "error" or not labels:
                raise ValueError(broken_files(skipped, len(entries)))
            np.save(temporary / LABELS, np.array(labels, dtype=np.int64))
            pixels_sha256, blocks = hashes.finish()
            manifest: Manifest = {
                "key": digest_of(key),
                "source": {name: printable(value) for name, value in key["source"].items()},
                "transform": key["transform"],
                "shape": [len(labels), *self.prepared_shape],
                "sha256": pixels_sha256,
                "labels_sha256": sha256(temporary / LABELS),
                "blocks": blocks,
                "skipped": skipped,
            }
            write_json(temporary / MANIFEST, manifest)
            remove(folder)  # an unusable one
            os.rename(temporary, folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def decode_all(
        self, path: Path, entries: Sequence[Entry], contents: Iterator[Content]
    ) -> tuple[list[int], list[str], BlockHashes]:
        """The labels of the images written, the names and faults of those that are broken, and the pixels' hashes."""
        labels: list[int] = []
        skipped: list[str] = []
        hashes = BlockHashes(self.prepared_shape)
        with path.open("wb") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # about metadata
            told = track(entries, "preparing images")
            for entry, pixels in zip(told, self.decoded(contents), strict=True):
                if isinstance(pixels, str):
                    skipped.append(printable(f"{entry.name} ({pixels})" if pixels else entry.name))
                    continue
                content = pixels.tobytes()
                hashes.add(content)
                file.write(content)
                labels.append(entry.label)
            file.flush()
            in_background("writing images to disk", os.fsync, file.fileno())
        return labels, skipped, hashes

    def decoded(self, contents: Iterator[Content]) -> Iterator[np.ndarray | str]:
        return in_threads(contents, partial(self.decode, resized=self.resized))

    def decode(
        self, content: Content, budget: Budget, resized: Callable[[Image.Image], Image.Image]
    ) -> np.ndarray | str:
        """Bytes [channels, image_size, image_size]; for a broken or too large image why, as far as it is known."""
        wanted = 0 if self.crop_size is not None else 2 * self.image_size
        return pixels_of(content, self.channels, self.max_pixels, wanted, budget, resized)

    def decode_given(self, content: Content, budget: Budget, image_shape: tuple[int, int, int]) -> np.ndarray | str:
        """An image that has this size already is not cropped again."""
        size = image_shape[:0:-1]
        return self.decode(content, budget, lambda image: image if image.size == size else self.resized(image))

    def resized(self, image: Image.Image) -> Image.Image:
        size = (self.image_size, self.image_size)
        if self.crop == "none":
            return image.resize(size, FILTERS[self.resize])
        if self.crop_size is None:
            return ImageOps.fit(image, size, FILTERS[self.resize])
        left, top = ((side - self.crop_size) / 2 for side in image.size)
        box = (left, top, left + self.crop_size, top + self.crop_size)
        if left < 0 or top < 0:
            raise RefusedError(f"smaller than crop_size={self.crop_size}")
        return image.resize(size, FILTERS[self.resize], box=box)

    def augment(self, images: Images) -> Images:
        if self.horizontal_flip:
            images = mirrored(images)
        return images + torch.rand_like(images) / 128 if self.dequantize else images


def unfinished(folder: Path) -> Path:
    """Where the images for this folder are while they are being prepared."""
    return folder.with_name(f".{folder.name}.partial")


def digest_of(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def in_threads(
    contents: Iterator[Content], decode: Callable[[Content, Budget], np.ndarray | str]
) -> Iterator[np.ndarray | str]:
    """What `decode` makes of each image, in order, with all cores."""
    budget = Budget(DECODED_BYTES)
    with ThreadPoolExecutor() as threads:
        try:
            for chunk in chunks(contents):
                yield from threads.map(lambda content: decode(content, budget), chunk)
        finally:  # whoever interrupts this waits for the images that are being decoded, not for the whole chunk
            budget.close()
            threads.shutdown(wait=False, cancel_futures=True)


def chunks(contents: Iterator[Content]) -> Iterator[list[Content]]:
    chunk: list[Content] = []
    waiting = 0
    for content in contents:
        chunk.append(content)
        waiting += content.num_bytes
        if len(chunk) == CHUNK or waiting > WAITING_BYTES:
            yield chunk
            chunk, waiting = [], 0
    if chunk:
        yield chunk


def broken_files(names: Sequence[str], count: int) -> str:
    named = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
    return (
        f"{len(names)} of {count} image files cannot be read, remove or repair them, or leave them out with "
        f"dataset.on_corrupt=skip: {named}"
    )
