"""What images go through before the discriminator sees them."""

from abc import ABC, abstractmethod

from gan_cli.part import Part
from gan_cli.shapes import Images


class Augmentation(Part, ABC):
    """A random, differentiable change of real and generated images alike.

    It is used while training only: what is scored, drawn or sampled by the discriminator is seen as it is.
    """

    @abstractmethod
    def __call__(self, images: Images) -> Images:
        """As many images of the same shape, with the global random state of their device."""
