"""The base class of augmentations, which change images before the discriminator sees them."""

from abc import ABC, abstractmethod

from gan_cli.objectives.objective import Objective
from gan_cli.part import Part
from gan_cli.shapes import Images


class Augmentation(Part, ABC):
    """A random, differentiable change of both real and generated images.

    It is used only in training: scoring, drawing and sampling use unchanged images.
    """

    @abstractmethod
    def __call__(self, images: Images) -> Images:
        """The same number of images of the same shape, with the global random state of their device."""

    def prepare(self, image_shape: tuple[int, int, int], objective: Objective) -> None:
        """Once, when the experiment is built; raises ValueError for images or an objective that it does not fit."""


def check_pixels(image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError for images without neighbouring pixels, such as toy points."""
    if min(image_shape[1:]) < 2:
        shape = " x ".join(map(str, image_shape))
        raise ValueError(f"it moves pixels, and an image has {shape}: set augmentation=none or another data set")
