from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch.nn.functional import pad

from gan_cli.augmentations import Augmentation
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Translation(Augmentation):
    """Moves each image by up to `share` of its size, and fills with zeros (Zhao et al. 2020, arXiv:2006.10738)."""

    share: Annotated[float, Interval(gt=0, lt=1)]

    def __call__(self, images: Images) -> Images:
        count, channels, height, width = images.shape
        down, right = round(self.share * height), round(self.share * width)
        device = images.device
        rows = torch.randint(2 * down + 1, (count, 1), device=device) + torch.arange(height, device=device)
        columns = torch.randint(2 * right + 1, (count, 1), device=device) + torch.arange(width, device=device)
        image = torch.arange(count, device=device)[:, None, None]
        padded = pad(images, (right, right, down, down)).permute(0, 2, 3, 1)
        return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
