"""Horizontal flips."""

from dataclasses import dataclass

import torch

from gan_cli.augmentations.augmentation import Augmentation, check_pixels
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Mirrors each image, left to right, with probability 1/2."""

    def prepare(self, image_shape: tuple[int, int, int], objective: Objective) -> None:
        check_pixels(image_shape)

    def __call__(self, images: Images) -> Images:
        return mirrored(images)


def mirrored(images: Images) -> Images:
    """Each image, or with probability 1/2 its mirror image."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)
