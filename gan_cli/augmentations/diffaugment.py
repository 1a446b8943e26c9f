"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738), in the form of the authors' code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gan_cli.augmentations.augmentation import Augmentation, check_pixels
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class DiffAugment(Augmentation):
    """The operations that `policy` names, in its order, each with one draw for each image.

    `color` changes brightness, saturation and contrast in turn, `translation` moves the image by up to an eighth of its
    size, `cutout` removes a square of half its size. What is moved in or removed is 0, the middle grey.

    Raises ValueError for an empty policy, and for images without pixels.
    """

    policy: list[Literal["color", "translation", "cutout"]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.policy:
            raise ValueError("policy=[] changes nothing: name operations in it, or set augmentation=none")

    def prepare(self, image_shape: tuple[int, int, int], objective: Objective) -> None:
        check_pixels(image_shape)

    def __call__(self, images: Images) -> Images:
        for name in self.policy:
            for change in OPERATIONS[name]:
                images = change(images)
        return images


def uniform(images: Images) -> Tensor:
    """One draw from [0, 1) for each image."""
    return torch.rand(len(images), 1, 1, 1, dtype=images.dtype, device=images.device)


def brightened(images: Images) -> Images:
    return images + uniform(images) - 0.5


def saturated(images: Images) -> Images:
    grey = images.mean(1, keepdim=True)
    return (images - grey) * (2 * uniform(images)) + grey


def contrasted(images: Images) -> Images:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (0.5 + uniform(images)) + mean


def translated(images: Images) -> Images:
    return moved(moved(images, 2), 3)


def moved(images: Images, axis: int) -> Images:
    """Moved along one axis by a whole number of pixels, which is drawn."""
    size = images.shape[axis]
    most = int(size / 8 + 0.5)
    offset = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
    source = along(torch.arange(size, device=images.device) - offset, axis)
    within = (source >= 0) & (source < size)
    found = images.gather(axis, source.clamp(0, size - 1).expand(images.shape))
    return torch.where(within, found, 0.0)


def cut_out(images: Images) -> Images:
    return torch.where(within_side(images, 2) & within_side(images, 3), 0.0, images)


def within_side(images: Images, axis: int) -> Tensor:
    """Which rows or columns are in the square; its centre is drawn from the image, so that it may reach beyond."""
    size = images.shape[axis]
    side = int(size / 2 + 0.5)
    centre = torch.randint(0, size + 1 - side % 2, (len(images), 1), device=images.device)
    after_start = torch.arange(size, device=images.device) - (centre - side // 2)
    return along((after_start >= 0) & (after_start < side), axis)


def along(values: Tensor, axis: int) -> Tensor:
    """Values [batch, size] along an axis of images."""
    return values[:, None, :, None] if axis == 2 else values[:, None, None, :]


OPERATIONS: dict[str, list[Callable[[Images], Images]]] = {
    "color": [brightened, saturated, contrasted],
    "translation": [translated],
    "cutout": [cut_out],
}
