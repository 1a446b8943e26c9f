"""Augmentations of the discriminator's images, for both players."""

from gan_cli.augmentations.ada import ADA
from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.augmentations.diffaugment import DiffAugment
from gan_cli.augmentations.flip import Flip
from gan_cli.augmentations.none import NoAugmentation

__all__ = ["ADA", "Augmentation", "DiffAugment", "Flip", "NoAugmentation"]
