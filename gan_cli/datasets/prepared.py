"""Images of any size on disk, decoded once into one file of bytes that every later start maps into memory."""

import hashlib
import json
import os
import shutil
import warnings
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from filelock import FileLock, Timeout
from PIL import Image, ImageOps

from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.datasets.source import Content, Entry, Source
from gan_cli.files import cache_folder, sync, write_json
from gan_cli.shapes import Images
from gan_cli.work import doing, in_background, track

FORMAT = 1
PIXELS, LABELS, MANIFEST = "pixels.u8", "labels.npy", "manifest.json"
CHUNK = 512  # images decoded at a time; it bounds the memory
MAX_NAMED = 20
FILTERS = {name: Image.Resampling[name.upper()] for name in ("lanczos", "bicubic", "bilinear", "box")}
TRANSFORM = ("image_size", "channels", "crop", "crop_size", "resize", "limit")
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True, kw_only=True)
class PreparedDataset(Dataset):
    """Images [channels, image_size, image_size], read into memory only when they are used.

    `crop=center` takes the central square of `crop_size` pixels (null: the shorter side); `none` stretches the image.
    `resize` is the filter, antialiased. `limit` takes that many images, evenly spaced over the whole set. In training,
    `horizontal_flip` mirrors each image with probability one half, and `dequantize` adds U[0, 1) / 128; scores use real
    images without either. Images are rotated upright by their EXIF tag; transparency is composited over white; 16-bit
    grey keeps its high byte. Broken files are all named in one error, or with `on_corrupt=skip` counted.
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
        """The data set and its split, for the protocol."""

    @property
    def protocol(self) -> dict[str, str | int | float]:
        crop = {"center": f"center crop {self.crop_size or ''}".strip(), "none": "stretched"}[self.crop]
        size: dict[str, str | int | float] = {"image_size": self.image_size}
        size["resize"] = f"{crop}, {self.resize}, antialiased"
        return self.named | size | ({} if self.limit is None else {"limit": self.limit})

    def load(self) -> TrainingSet:
        source = self.source()
        key = {"format": FORMAT, "source": source.identity(), "transform": {n: getattr(self, n) for n in TRANSFORM}}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        folder = cache_folder() / "datasets" / f"{source.name}-{self.image_size}-{digest[:16]}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            manifest = read_manifest(folder, key)
            if manifest is None:
                with alone(folder.with_name(f".{folder.name}.lock")):  # a second process waits, then uses the result
                    manifest = read_manifest(folder, key) or self.prepare(source, key, folder)
        except OSError as error:
            where = f"{folder.parent}: free some space, or set GAN_CLI_CACHE to another folder"
            raise ValueError(f"the images cannot be prepared ({error}) in {where}") from error
        if manifest["skipped"] and self.on_corrupt == "error":
            raise ValueError(broken_files(manifest["skipped"], manifest["count"]))
        if manifest["skipped"]:
            warnings.warn(f"{len(manifest['skipped'])} broken image files are left out", stacklevel=2)
        values = mapped(folder / PIXELS, manifest["shape"])
        return TrainingSet(values, torch.from_numpy(np.load(folder / LABELS)), digest=manifest["sha256"])

    def prepare(self, source: Source, key: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Decodes everything with all cores into a temporary folder, which then replaces `folder`."""
        entries = source.entries()
        chosen = np.linspace(0, len(entries) - 1, min(self.limit or len(entries), len(entries))).round().astype(int)
        entries = [entries[index] for index in chosen]
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed process: this one holds the lock
        partial.mkdir()
        try:
            labels, skipped, pixels_sha256 = self.decode_all(
                partial / PIXELS, entries, source.contents(chosen.tolist())
            )
            if skipped and self.on_corrupt == "error" or not labels:
                raise ValueError(broken_files(skipped, len(entries)))
            np.save(partial / LABELS, np.array(labels, dtype=np.int64))
            shape = [len(labels), self.channels, self.image_size, self.image_size]
            done = {"count": len(labels), "shape": shape, "sha256": pixels_sha256, "skipped": skipped}
            write_json(partial / MANIFEST, key | done)
            shutil.rmtree(folder, ignore_errors=True)  # an unusable one
            os.rename(partial, folder)
            sync(folder.parent)
            return key | done
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def decode_all(
        self, path: Path, entries: Sequence[Entry], contents: Iterator[Content]
    ) -> tuple[list[int], list[str], str]:
        """The labels of the images written, the names of those that are broken, and the SHA-256 of the pixels."""
        labels: list[int] = []
        skipped: list[str] = []
        digest = hashlib.sha256()
        with path.open("wb") as file:
            told = track(entries, "preparing images")
            for entry, pixels in zip(told, self.decoded(contents), strict=True):
                if pixels is None:
                    skipped.append(entry.name)
                    continue
                content = pixels.tobytes()
                digest.update(content)
                file.write(content)
                labels.append(entry.label)
            file.flush()
            in_background("writing images to disk", os.fsync, file.fileno())
        return labels, skipped, digest.hexdigest()

    def decoded(self, contents: Iterator[Content]) -> Iterator[np.ndarray | None]:
        with ThreadPoolExecutor() as threads:
            try:
                while chunk := list(islice(contents, CHUNK)):
                    yield from threads.map(self.decode, chunk)
            finally:  # whoever interrupts this waits for the images that are being decoded, not for the whole chunk
                threads.shutdown(wait=False, cancel_futures=True)

    def decode(self, content: Content) -> np.ndarray | None:
        """Bytes [channels, image_size, image_size], or None for a broken or too large image."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with content() as opened:
                    image = opaque(ImageOps.exif_transpose(opened))
                    sized = self.resized(image.convert("L" if self.channels == 1 else "RGB"))
        except DAMAGE:
            return None
        return np.asarray(sized).reshape(self.image_size, self.image_size, self.channels).transpose(2, 0, 1)

    def resized(self, image: Image.Image) -> Image.Image:
        size = (self.image_size, self.image_size)
        if self.crop == "none":
            return image.resize(size, FILTERS[self.resize])
        if self.crop_size is None:
            return ImageOps.fit(image, size, FILTERS[self.resize])
        left, top = ((side - self.crop_size) / 2 for side in image.size)
        box = (left, top, left + self.crop_size, top + self.crop_size)
        if left < 0 or top < 0:
            raise ValueError(f"it is smaller than crop_size={self.crop_size}")
        return image.resize(size, FILTERS[self.resize], box=box)

    def augment(self, images: Images) -> Images:
        if self.horizontal_flip:
            mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(-1), images)
        return images + torch.rand_like(images) / 128 if self.dequantize else images


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits for the lock file, then holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with doing("waiting for another process that prepares the same images") as tell:
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=0.1)
                tell()
    try:
        yield
    finally:
        lock.release()


def mapped(path: Path, shape: Sequence[int]) -> torch.Tensor:
    """The file's bytes, mapped read-only: a writable mapping would have to fit into memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r", shape=tuple(shape)))


def read_manifest(folder: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of the images prepared under this key, if all files are there."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        whole = (folder / PIXELS).stat().st_size == np.prod(manifest["shape"]) and (folder / LABELS).is_file()
        same = all(manifest[name] == value for name, value in key.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole and same else None


def broken_files(names: Sequence[str], count: int) -> str:
    named = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
    return (
        f"{len(names)} of {count} image files cannot be read, remove or repair them, or leave them out with "
        f"dataset.on_corrupt=skip: {named}"
    )


def opaque(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey or RGB: 16-bit grey keeps its high byte, transparency is composited over white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L", "F") else "RGB")
