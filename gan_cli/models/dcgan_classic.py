"""DCGAN (Radford et al. 2016, arXiv:1511.06434) as in pytorch-gan-collections, with which AdvLatGAN is trained.

Its weights start as PyTorch leaves them.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from gan_cli.models.folded import ImageConv, ImageConvTranspose, PixelConvTranspose
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits

SIZES = (32, 48, 64)


class Generator(nn.Module):
    """Codes to images: transposed 4x4 convolutions, doubling the size four times, batch norm, ReLU, tanh.

    `width` is the number of channels before the last layer. Raises ValueError for an image shape it cannot make.
    """

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("dcgan_classic", image_shape, SIZES, width)
        channels = [8 * width, 4 * width, 2 * width, width, shape.channels]
        self.layers = nn.Sequential(*growing(latent_dim, channels, shape.height // 16, biased=False))

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes[:, :, None, None])


class Discriminator(nn.Module):
    """Images to logits: 5x5 convolutions, halving the size four times, leaky ReLU, batch norm, one linear layer.

    `width` is the number of channels after the first layer. Raises ValueError for an image shape it cannot read.
    """

    def __init__(self, *, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("dcgan_classic", image_shape, SIZES, width)
        channels = [width, 2 * width, 4 * width, 8 * width]
        layers = [ImageConv(shape.channels, width, 5, stride=2, padding=2, bias=False), nn.LeakyReLU(0.2)]
        for fan_in, fan_out in pairwise(channels):
            shrink = nn.Conv2d(fan_in, fan_out, 5, stride=2, padding=2, bias=False)
            # After the activation, as in the authors' code; Radford et al. normalise before it.
            layers += [shrink, nn.LeakyReLU(0.2), nn.BatchNorm2d(fan_out)]
        num_features = channels[-1] * (shape.height // 16) ** 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(num_features, num_outcomes))

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def growing(latent_dim: int, channels: Sequence[int], size: int, *, biased: bool) -> list[nn.Module]:
    """Codes [batch, latent_dim, 1, 1] to `size` pixels, which each further layer of `channels` doubles, and tanh."""
    layers: list[nn.Module] = [PixelConvTranspose(latent_dim, channels[0], size, bias=biased)]
    *hidden, image = pairwise(channels)
    grown = [nn.ConvTranspose2d(*pair, 4, stride=2, padding=1, bias=biased) for pair in hidden]
    for grow in (*grown, ImageConvTranspose(*image, 4, stride=2, padding=1, bias=biased)):
        layers += [nn.BatchNorm2d(grow.in_channels), nn.ReLU(), grow]
    return [*layers, nn.Tanh()]
