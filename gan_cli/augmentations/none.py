"""No augmentation."""

from dataclasses import dataclass

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class NoAugmentation(Augmentation):
    """Returns every image unchanged."""

    def __call__(self, images: Images) -> Images:
        return images
