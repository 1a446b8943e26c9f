"""The base class of augmentations, which change images before the discriminator sees them."""

from abc import ABC, abstractmethod

from gan_cli.part import Part
from gan_cli.shapes import Images


class Augmentation(Part, ABC):
    """A random, differentiable change of both real and generated images.

    It is used only in training: scoring, drawing and sampling use unchanged images.
    """

    @abstractmethod
    def __call__(self, images: Images) -> Images:
        """The same number of images of the same shape, with the global random state of their device."""
