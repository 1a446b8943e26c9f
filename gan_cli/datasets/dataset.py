"""The base class of data sets."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image

from gan_cli.data import TrainingSet
from gan_cli.datasets.decoding import Budget, Content, RefusedError, pixels_of
from gan_cli.metrics.metrics import Metrics
from gan_cli.ranges import Ranged
from gan_cli.shapes import Images

MOST_PIXELS = 89_478_485  # of an image from elsewhere, as in conf/images.yaml


class Probed(NamedTuple):
    """What is known of a data set without loading it: the shape of an image, and their number if that is cheap."""

    image_shape: tuple[int, int, int]
    num_images: int | None


@dataclass(frozen=True, kw_only=True)
class Dataset(Ranged, ABC):
    """Real images, and the metrics that score generated images against them."""

    metrics: Metrics
    stored: ClassVar[torch.dtype] = torch.uint8  # of the training set's values

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Of every image, if the settings say it; None where only the images do."""
        return None

    @abstractmethod
    def load(self) -> TrainingSet:
        """Every image; raises ValueError, which says how to fix it, if they are not available."""

    def probe(self) -> Probed:
        """What can be known cheaply; raises what `load` raises if the images are missing. Here it loads them."""
        loaded = self.load()
        return Probed(loaded.image_shape, len(loaded))

    @property
    def holds_out(self) -> bool:
        """Whether `held_out` has images; a data set that has such images defines it."""
        return False

    def held_out(self) -> TrainingSet:
        """Images like those of `load` that training never sees, with their labels; raises ValueError if there are none.

        A data set that has such images defines it.
        """
        raise ValueError(
            f"{type(self).__name__} has no held-out images: set dataset.num_held_out=<how many> where the data set "
            "takes it, or define held_out in a class of your own"
        )

    @property
    @abstractmethod
    def protocol(self) -> dict[str, str | int | float]:
        """The properties of the data that a score depends on: its name, split, resolution and resize.

        Not its place: the digest of the loaded images identifies them.
        """

    def decode_given(self, content: Content, budget: Budget, image_shape: tuple[int, int, int]) -> np.ndarray | str:
        """An image from elsewhere as this data set would hold it, bytes of `image_shape`; for a broken one why.

        It must have the size of the real ones, where a data set does not say how those were resized.
        """
        channels, height, width = image_shape

        def same(image: Image.Image) -> Image.Image:
            if image.size != (width, height):
                raise RefusedError(f"{image.width} x {image.height} pixels, the real images have {width} x {height}")
            return image

        return pixels_of(content, channels, MOST_PIXELS, 0, budget, same)

    def augment(self, images: Images) -> Images:
        """Changes real images each time they are trained on, with the step's randomness."""
        return images
