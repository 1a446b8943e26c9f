"""Augmentations of the discriminator's images, for both players."""

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.augmentations.none import NoAugmentation

__all__ = ["Augmentation", "NoAugmentation"]
