"""Augmentations: what both players' images go through before the discriminator."""

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.augmentations.none import NoAugmentation

__all__ = ["Augmentation", "NoAugmentation"]
