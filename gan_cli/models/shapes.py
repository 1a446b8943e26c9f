"""The images that a convolutional network can make and read."""

from collections.abc import Collection
from typing import NamedTuple


class ImageShape(NamedTuple):
    channels: int
    height: int
    width: int


def check_generated(model: str, image_shape: tuple[int, int, int], sizes: Collection[int], width: int) -> ImageShape:
    """As `check_shape`, of images that a generator makes; raises ValueError also unless they have 1 or 3 channels."""
    shape = check_shape(model, image_shape, sizes, width)
    if shape.channels not in (1, 3):
        raise ValueError(f"{model} makes images with 1 or 3 channels, not {shape.channels}")
    return shape


def check_shape(model: str, image_shape: tuple[int, int, int], sizes: Collection[int], width: int) -> ImageShape:
    """The shape by names; raises ValueError unless it is square and of one of the sizes, or for a width below 1."""
    shape = ImageShape(*image_shape)
    if shape.height != shape.width or shape.height not in sizes:
        nearest = min(sizes, key=lambda size: abs(size - shape.height))
        raise ValueError(
            f"{model} takes square images of {', '.join(map(str, sizes))} pixels, not "
            f"{shape.channels} x {shape.height} x {shape.width}: "
            + ("use model=mlp" if shape.height == 1 else f"set dataset.image_size={nearest}")
        )
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    return shape
