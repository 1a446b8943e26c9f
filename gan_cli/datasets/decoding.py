"""Encoded images become pixels: only in formats that the package names, and in bounded memory."""

import io
import lzma
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

FORMATS = {  # Pillow would try every format on a file of any name, also those that run another program, as EPS does
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".bmp": "BMP",
    ".pgm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
EXTENSIONS = tuple(FORMATS)
DECODED_BYTES = 2**31  # of images that are being decoded
BYTES_PER_PIXEL = 16  # with the copies that converting takes; compositing takes as much again
DRAFT_PIXELS = 50_000_000  # above it, a JPEG file is decoded at a fraction of its size if that is still enough
DAMAGE = (  # what Pillow and the readers of archives raise for a damaged file
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError, AssertionError),
    *(RuntimeError, MemoryError, SyntaxError, struct.error, zlib.error, lzma.LZMAError),
    *(tarfile.TarError, zipfile.BadZipFile, Image.DecompressionBombError),
)

# Pillow's blocks of 16 MB would stay in each thread's memory when they are free; the C library returns larger ones.
Image.core.set_block_size(2**26)  # type: ignore[attr-defined]


class RefusedError(ValueError):
    """An image that is not decoded; the message says why, after its name."""


class Content(NamedTuple):
    """A function that opens an encoded image, in any thread, and the bytes that wait in memory for it."""

    open: Callable[[], Image.Image]
    num_bytes: int = 0


class Budget:
    """Bytes that threads may use at one time; a need that is larger than all of them waits until it is the only one."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self.closed = False
        self.changed = threading.Condition()

    @contextmanager
    def spend(self, amount: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.closed or not self.used or self.used + amount <= self.total)
            if self.closed:
                raise RefusedError("nobody waits for it")
            self.used += amount
        try:
            yield
        finally:
            with self.changed:
                self.used -= amount
                self.changed.notify_all()

    def close(self) -> None:
        """Threads that wait do not start."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def open_image(file: str | io.BytesIO) -> Image.Image:
    """The image, not decoded yet."""
    return Image.open(file, formats=tuple(dict.fromkeys(FORMATS.values())))


@contextmanager
def decoded(content: Content, channels: int, max_pixels: int, wanted: int, budget: Budget) -> Iterator[Image.Image]:
    """The image upright, as 8-bit grey or RGB, within the budget.

    A very large JPEG file is decoded at 1/2, 1/4 or 1/8 of its size if both sides keep `wanted` pixels; 0 stands for
    the whole size. Raises RefusedError for more than `max_pixels`, before it decodes anything.
    """
    with content.open() as opened:
        pixels = opened.width * opened.height
        if pixels > max_pixels:
            raise RefusedError(
                f"{opened.width:,} x {opened.height:,} = {pixels:,} pixels, more than dataset.max_pixels={max_pixels}"
            )
        with budget.spend(pixels * BYTES_PER_PIXEL * (2 if opened.has_transparency_data else 1)):
            if pixels > DRAFT_PIXELS and wanted:
                opened.draft(None, (wanted, wanted))  # does nothing in other formats
            ImageOps.exif_transpose(opened, in_place=True)
            yield converted(opaque(opened), "L" if channels == 1 else "RGB")
            opened.close()  # frees the pixels before others may spend what they took


def pixels_of(
    content: Content,
    channels: int,
    max_pixels: int,
    wanted: int,
    budget: Budget,
    resized: Callable[[Image.Image], Image.Image],
) -> np.ndarray | str:
    """The decoded and resized image, bytes [channels, height, width]; for a broken one why, as far as it is known."""
    try:
        with decoded(content, channels, max_pixels, wanted, budget) as image:
            pixels = np.asarray(resized(image))
    except RefusedError as refusal:
        return str(refusal)
    except DAMAGE as error:
        return getattr(error, "strerror", None) or ""
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def opaque(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey or RGB: 16-bit grey keeps its high byte, transparency is composited over white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = converted(image, "RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return converted(image, "L" if image.mode in ("1", "L", "F") else "RGB")


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Without a copy if the image has this mode already."""
    return image if image.mode == mode else image.convert(mode)
