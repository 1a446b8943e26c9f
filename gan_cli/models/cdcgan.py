"""DCGAN as in MSGAN (Mao et al. 2019, arXiv:1903.05628), with which AdvLatGAN-div (Li et al. 2022) is trained.

The authors use it with labels beside the code and the image, `conditioning=concat`. Their last convolution of the
discriminator, 4x4 on 4x4 pixels, is the linear layer on all of them.
"""

from collections.abc import Iterable
from itertools import pairwise

from torch import nn

from gan_cli.models.dcgan_classic import growing
from gan_cli.models.folded import ImageConv
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits

SIZES = (32,)


class Generator(nn.Module):
    """Codes to images: transposed 4x4 convolutions, doubling the size three times, batch norm, ReLU, tanh.

    `width` is the number of channels before the last layer. Raises ValueError for an image shape it cannot make.
    """

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("cdcgan", image_shape, SIZES, width)
        channels = [4 * width, 2 * width, width, shape.channels]
        layers = growing(latent_dim, channels, 4, biased=True)
        initialize(layers)
        self.layers = nn.Sequential(*layers)

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes[:, :, None, None])


class Discriminator(nn.Module):
    """Images to logits: 4x4 convolutions, halving the size three times, batch norm after the first, leaky ReLU.

    `width` is the number of channels after the first layer. Raises ValueError for an image shape it cannot read.
    """

    def __init__(self, *, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("cdcgan", image_shape, SIZES, width)
        channels = [width, 2 * width, 4 * width]
        layers = [ImageConv(shape.channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for fan_in, fan_out in pairwise(channels):
            shrink = nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1)
            layers += [shrink, nn.BatchNorm2d(fan_out), nn.LeakyReLU(0.2)]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * 4**2, num_outcomes)]
        initialize(layers)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def initialize(layers: Iterable[nn.Module]) -> None:
    """Weights N(0, 0.02), but for batch norm, which keeps PyTorch's, as all biases do."""
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
