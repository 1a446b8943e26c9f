"""Resampling with the binomial filter [1, 3, 3, 1] along both axes, and zeros around the image."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


class Resample(nn.Module):
    """Twice or half the size, with the filter [1, 3, 3, 1] / 8 along both axes and zeros around the image."""

    def __init__(self, *, grow: bool) -> None:
        super().__init__()
        self.grow = grow
        self.register_buffer("kernel", binomial(gain=4.0 if grow else 1.0), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        resample = conv_transpose2d if self.grow else conv2d
        return resample(features, for_each(features, self.kernel), stride=2, padding=1, groups=features.shape[1])


class Smooth(nn.Module):
    """The filter at the same resolution, times `gain`: n pixels with `padding` zeros on each side become n + 2p - 3."""

    def __init__(self, *, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("kernel", binomial(gain), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(features, for_each(features, self.kernel), padding=self.padding, groups=features.shape[1])


def binomial(gain: float) -> Tensor:
    """[1, 1, 4, 4], with the sum `gain`."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return gain * torch.outer(line, line)[None, None]


def for_each(features: Tensor, kernel: object) -> Tensor:
    """The kernel for every channel, in the type of the features."""
    assert isinstance(kernel, Tensor)
    return kernel.to(features.dtype).expand(features.shape[1], 1, 4, 4)
