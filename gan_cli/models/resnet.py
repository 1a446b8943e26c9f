"""The residual networks of SNGAN (Miyato et al. 2018, arXiv:1802.05957) and WGAN-GP (Gulrajani et al. 2017).

32 and 48 pixels are as in pytorch-gan-collections and AdvLatGAN (Li et al. 2022). 64 and 128 have the channels and the
number of blocks that the SNGAN authors' code and mimicry (Lee and Town 2020, arXiv:2005.02494) made usual, made of the
same blocks: the first convolution of a discriminator's block widens, where mimicry's second one does, and images grow
by the nearest neighbour. Spectral norm is a regularizer.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

from torch import Tensor, nn

from gan_cli.models.folded import ConvMeanPool, UpsampleConv
from gan_cli.models.initialization import xavier
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits


class Plan(NamedTuple):
    """Channels before the generator's first block and after each, and after each of the discriminator's, in widths.

    The first `num_halvings` blocks of the discriminator halve the size; each of the generator's doubles it.
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    num_halvings: int


PLANS = {
    32: Plan((4, 4, 4, 4), (2, 2, 2, 2), 2),
    48: Plan((8, 4, 2, 1), (1, 2, 4, 8), 4),
    64: Plan((16, 8, 4, 2, 1), (1, 2, 4, 8, 16), 5),
    128: Plan((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
}


class Generator(nn.Module):
    """Codes to images: one linear layer, residual blocks with batch norm that double the size, one 3x3 layer, tanh.

    All channels scale with `width`. Raises ValueError for an image shape it cannot make.
    """

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("resnet", image_shape, PLANS, width)
        channels = [width * number for number in PLANS[shape.height].generator]
        size = shape.height // 2 ** (len(channels) - 1)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, channels[0] * size**2),
            nn.Unflatten(1, (channels[0], size, size)),
            *(growing(fan_in, fan_out) for fan_in, fan_out in pairwise(channels)),
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(),
            conv3x3(channels[-1], shape.channels),
            nn.Tanh(),
        )
        initialize(self)

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes)


class Discriminator(nn.Module):
    """Images to logits: residual blocks, the sum (`sngan`) or mean (`wgan_gp`) over all pixels, one linear layer.

    That layer has a bias in the form `wgan_gp` alone. All channels scale with `width`. Raises ValueError for an image
    shape it cannot read.
    """

    def __init__(
        self,
        *,
        form: Literal["sngan", "wgan_gp"],
        width: int,
        image_shape: tuple[int, int, int],
        num_outcomes: int,
    ) -> None:
        super().__init__()
        shape = check_shape("resnet", image_shape, PLANS, width)
        plan = PLANS[shape.height]
        channels = [shape.channels, *(width * number for number in plan.discriminator)]
        blocks = [
            reading(fan_in, fan_out, first=number == 0, halving=number < plan.num_halvings)
            for number, (fan_in, fan_out) in enumerate(pairwise(channels))
        ]
        self.blocks = nn.Sequential(*blocks, nn.ReLU())
        self.summed = form == "sngan"
        self.logits = nn.Linear(channels[-1], num_outcomes, bias=form == "wgan_gp")
        initialize(self)

    def forward(self, images: Images) -> Logits:
        features = self.blocks(images)
        return self.logits(features.sum((2, 3)) if self.summed else features.mean((2, 3)))


class Block(nn.Module):
    """The sum of two branches. They read the same tensor, so neither may start with a layer that works in place."""

    def __init__(self, residual: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.residual = nn.Sequential(*residual)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.residual(inputs) + self.shortcut(inputs)


def growing(fan_in: int, fan_out: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> Block:
    """A block of the generator; `norm` makes a norm of so many channels."""
    first = [norm(fan_in), nn.ReLU(), UpsampleConv(fan_in, fan_out)]
    second = [norm(fan_out), nn.ReLU(), conv3x3(fan_out, fan_out)]
    # A 1x1 convolution of repeated pixels repeats its outputs: before the upsampling it costs a quarter.
    return Block([*first, *second], [nn.Conv2d(fan_in, fan_out, 1), nn.Upsample(scale_factor=2)])


def reading(fan_in: int, fan_out: int, *, first: bool, halving: bool) -> Block:
    """A block of the discriminator; the first one leaves the images unrectified."""
    rectified: list[nn.Module] = [] if first else [nn.ReLU()]
    pooled: list[nn.Module] = [nn.AvgPool2d(2)] if halving else []
    second = ConvMeanPool(fan_out, fan_out) if halving else conv3x3(fan_out, fan_out)
    residual = [*rectified, conv3x3(fan_in, fan_out), nn.ReLU(), second]
    # A 1x1 convolution and a mean of pixels commute: after the pooling it costs a quarter.
    return Block(residual, [*pooled, nn.Conv2d(fan_in, fan_out, 1)] if halving or fan_in != fan_out else [])


def conv3x3(fan_in: int, fan_out: int) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, 3, padding=1)


def initialize(network: nn.Module) -> None:
    """Xavier; with gain sqrt(2) on the residual branches, to make up for what their ReLUs take away.

    The authors of AdvLatGAN leave the networks of WGAN-GP as PyTorch does, the same lines commented out.
    """
    network.apply(partial(xavier, gain=1.0))
    for block in network.modules():
        if isinstance(block, Block):
            block.residual.apply(partial(xavier, gain=math.sqrt(2)))
