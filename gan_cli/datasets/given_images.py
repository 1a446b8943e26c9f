"""Images from elsewhere, decoded as a data set's own are, to be scored against them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_cli.datasets.dataset import Dataset
from gan_cli.datasets.decoding import DAMAGE, Content
from gan_cli.datasets.prepared import MAX_NAMED, in_threads
from gan_cli.datasets.source import source_of
from gan_cli.errors import one_line
from gan_cli.shapes import Stored
from gan_cli.text import printable
from gan_cli.work import track


@dataclass(frozen=True)
class GivenImages:
    """The images, stored like real ones, and how many of them had another size."""

    values: Stored
    num_resized: int


def read_given(path: Path, dataset: Dataset, image_shape: tuple[int, int, int]) -> GivenImages:
    """Every image of a folder, a zip or tar file, or an array of NumPy, in its order; a folder's by name.

    Raises ValueError if there are none, or if some are broken, which it names.
    """
    if dataset.stored != torch.uint8:
        raise ValueError("the data set holds points: only images can be scored from files")
    source = source_of(path, None, "images")
    entries, sizes, broken = source.entries(), [], []
    values = torch.empty(len(entries), *image_shape, dtype=torch.uint8)

    def noted(contents: Iterator[Content]) -> Iterator[Content]:
        for content in contents:
            yield content._replace(open=partial(opened, content))

    def opened(content: Content) -> Image.Image:
        image = content.open()
        sizes.append(image.size)
        return image

    decoded = in_threads(
        noted(source.contents(range(len(entries)))), partial(dataset.decode_given, image_shape=image_shape)
    )
    for number, pixels in enumerate(track(decoded, "reading images", len(entries))):
        if isinstance(pixels, str):
            broken.append(f"{printable(entries[number].name)} ({printable(pixels)})")
        else:
            values[number] = torch.from_numpy(np.array(pixels))
    if broken:
        named = ", ".join(broken[:MAX_NAMED]) + (", ..." if len(broken) > MAX_NAMED else "")
        raise ValueError(f"{len(broken)} of {len(entries)} images of images={printable(path)} cannot be used: {named}")
    height, width = image_shape[1:]
    return GivenImages(values, sum(size != (width, height) for size in sizes))


def first_size(path: Path, setting: str) -> tuple[int, int]:
    """Width and height of the first image at this path; raises ValueError if it cannot be read."""
    source = source_of(path, None, setting)
    name = source.entries()[0].name
    try:
        with next(iter(source.contents([0]))).open() as image:
            return image.size
    except DAMAGE as error:
        raise ValueError(
            f"{printable(name)} of {setting}={printable(path)} cannot be read: {one_line(error)}"
        ) from error
