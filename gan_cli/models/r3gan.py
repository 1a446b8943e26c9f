"""The networks of R3GAN (Huang et al. 2024, arXiv:2501.05441, section 4 and appendix D): residual, without norms.

A stage at each resolution from 4 x 4 has two residual blocks of grouped convolutions, which start as the identity.
"""

import math
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gan_cli.models.resampling import Resample
from gan_cli.models.shapes import check_shape
from gan_cli.shapes import Codes, Images, Logits

SIZES = [8, 16, 32, 64, 128, 256, 512, 1024]
BLOCKS = 2  # of each stage
EXPANSION = 2  # of the channels inside a block
SLOPE = 0.2  # of the leaky ReLUs below zero
GAIN = math.sqrt(2 / (1 + SLOPE**2))


class Generator(nn.Module):
    """Codes to images: a learnable 4 x 4 map scaled by a linear function of the code, then the stages, growing.

    A stage has `width` channels up to `full_width_until` pixels, and half as many at each doubling beyond. The groups
    of a convolution have `group_width` channels each. There is no activation at the end. Raises ValueError for an
    image shape it cannot make, or channels that cannot be halved or grouped.
    """

    def __init__(
        self,
        *,
        width: int,
        full_width_until: Annotated[int, Ge(4)],
        group_width: Annotated[int, Ge(1)],
        latent_dim: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        shape = check_shape("r3gan", image_shape, SIZES, width)
        channels = stage_channels(shape.height, width, full_width_until, group_width)
        self.basis = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.scale = linear(latent_dim, channels[0])
        stages = [residual_blocks(channels[0], group_width, len(channels))]
        for fan_in, fan_out in pairwise(channels):
            stages += [nn.Sequential(*widening(fan_in, fan_out), Resample(grow=True))]
            stages += [residual_blocks(fan_out, group_width, len(channels))]
        self.stages = nn.Sequential(*stages)
        self.to_images = conv1x1(channels[-1], shape.channels)

    def forward(self, codes: Codes) -> Images:
        return self.to_images(self.stages(self.basis * self.scale(codes)[:, :, None, None]))


class Discriminator(nn.Module):
    """Images to logits: the generator's stages in reverse, shrinking, a depthwise 4 x 4 convolution, one linear layer.

    The settings are the generator's. It holds no statistics of a batch, so that penalties are of each image.
    """

    def __init__(
        self,
        *,
        width: int,
        full_width_until: Annotated[int, Ge(4)],
        group_width: Annotated[int, Ge(1)],
        image_shape: tuple[int, int, int],
        num_outcomes: int,
    ) -> None:
        super().__init__()
        shape = check_shape("r3gan", image_shape, SIZES, width)
        channels = stage_channels(shape.height, width, full_width_until, group_width)[::-1]
        stages: list[nn.Module] = [conv1x1(shape.channels, channels[0])]
        for fan_in, fan_out in pairwise(channels):
            stages += [residual_blocks(fan_in, group_width, len(channels))]
            stages += [nn.Sequential(Resample(grow=False), *widening(fan_in, fan_out))]
        last = channels[-1]
        whole = scaled(nn.Conv2d(last, last, 4, groups=last, bias=False), 1.0)
        stages += [residual_blocks(last, group_width, len(channels)), whole, nn.Flatten()]
        self.stages = nn.Sequential(*stages)
        self.logits = linear(last, num_outcomes)

    def forward(self, images: Images) -> Logits:
        return self.logits(self.stages(images))


class Block(nn.Module):
    """x + W3 a(g(a(W1 x + b1)) + b2), with a grouped 3 x 3 convolution g and leaky ReLUs a; W3 starts at zero.

    Fix-up initialization (Zhang et al. 2019, arXiv:1901.09321) for `num_blocks` blocks in the network.
    """

    def __init__(self, channels: int, group_width: int, num_blocks: int) -> None:
        super().__init__()
        inside, gain = EXPANSION * channels, GAIN * num_blocks ** (-1 / 4)
        groups = inside // min(group_width, inside)
        self.residual = nn.Sequential(
            scaled(nn.Conv2d(channels, inside, 1), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inside, channels, 1, bias=False), 0.0),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.residual(features)


def stage_channels(size: int, width: int, full_width_until: int, group_width: int) -> list[int]:
    """Of each stage, from 4 x 4 up."""
    channels = []
    resolution = 4
    while resolution <= size:
        shrunk = max(1, resolution // full_width_until)
        inside = EXPANSION * width // shrunk
        if width % shrunk or inside % min(group_width, inside):
            raise ValueError(
                f"width={width} makes {width / shrunk:g} channels at {resolution} pixels, and twice as many have to be "
                f"whole groups of {group_width}: make it a multiple of {shrunk * max(1, group_width // EXPANSION)}"
            )
        channels.append(width // shrunk)
        resolution *= 2
    return channels


def residual_blocks(channels: int, group_width: int, num_stages: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, group_width, BLOCKS * num_stages) for _ in range(BLOCKS)))


def widening(fan_in: int, fan_out: int) -> list[nn.Module]:
    """A 1 x 1 convolution where the number of channels changes."""
    return [] if fan_in == fan_out else [conv1x1(fan_in, fan_out)]


def conv1x1(fan_in: int, fan_out: int) -> nn.Module:
    return scaled(nn.Conv2d(fan_in, fan_out, 1, bias=False), 1.0)


def linear(fan_in: int, fan_out: int) -> nn.Module:
    return scaled(nn.Linear(fan_in, fan_out, bias=False), 1.0)


def scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Module:
    """The layer with normal weights of variance gain^2 / fan in, and biases of zero."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
