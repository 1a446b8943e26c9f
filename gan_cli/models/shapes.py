"""The images that a convolutional network can make and read."""

from collections.abc import Collection
from typing import NamedTuple


class ImageShape(NamedTuple):
    channels: int
    height: int
    width: int


def check_shape(model: str, image_shape: tuple[int, int, int], sizes: Collection[int], width: int) -> ImageShape:
    """The shape by names; raises ValueError unless it is square, of one of the sizes, with 1 or 3 channels."""
    shape = ImageShape(*image_shape)
    if shape.height != shape.width or shape.height not in sizes or shape.channels not in (1, 3):
        nearest = min(sizes, key=lambda size: abs(size - shape.height))
        raise ValueError(
            f"{model} takes square images of {', '.join(map(str, sizes))} pixels with 1 or 3 channels, not "
            f"{shape.channels} x {shape.height} x {shape.width}: "
            + ("use model=mlp" if shape.height == 1 else f"set dataset.image_size={nearest}")
        )
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    return shape
