"""The convolutional networks of RealnessGAN (Xiangli et al. 2020, arXiv:2002.05512), after DCGAN (arXiv:1511.06434).

Spectral norm is a regularizer here, and the authors' second head, for feature resampling, a setting of the Realness
objective, which then asks for twice the outputs.
"""

from collections import OrderedDict

from torch import nn

from gan_cli.models.folded import ImageConv, ImageConvTranspose, PixelConvTranspose
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)


class Generator(nn.Module):
    """Codes to images: transposed 4x4 convolutions, doubling the size from 4 pixels on, batch norm, ReLU, tanh.

    `width` is the number of channels before the last layer. Raises ValueError for an image shape it cannot make.
    """

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("dcgan", image_shape, SIZES, width)
        channels = width * shape.height // 8
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        size = 4
        layers["grow4"] = PixelConvTranspose(latent_dim, channels, 4, bias=False)
        while size * 2 < shape.height:
            layers |= {f"norm{size}": nn.BatchNorm2d(channels), f"relu{size}": nn.ReLU()}
            size, channels = size * 2, channels // 2
            layers[f"grow{size}"] = nn.ConvTranspose2d(channels * 2, channels, 4, stride=2, padding=1, bias=False)
        layers |= {f"norm{size}": nn.BatchNorm2d(channels), f"relu{size}": nn.ReLU()}
        layers["image"] = ImageConvTranspose(channels, shape.channels, 4, stride=2, padding=1, bias=False)
        layers["tanh"] = nn.Tanh()
        self.layers = nn.Sequential(layers)
        self.apply(initialize)

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes[:, :, None, None])


class Discriminator(nn.Module):
    """Images to logits: 4x4 convolutions, halving the size down to 4 pixels, leaky ReLU, one linear layer.

    `width` is the number of channels after the first layer. Raises ValueError for an image shape it cannot read.
    """

    def __init__(self, *, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("dcgan", image_shape, SIZES, width)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        size, channels = shape.height // 2, width
        layers["image"] = ImageConv(shape.channels, channels, 4, stride=2, padding=1, bias=False)
        layers[f"relu{size}"] = nn.LeakyReLU(0.2)
        while size > 4:
            size, channels = size // 2, channels * 2
            layers[f"shrink{size}"] = nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1, bias=False)
            layers[f"relu{size}"] = nn.LeakyReLU(0.2)
        layers["flatten"] = nn.Flatten()
        # The published head has no bias; with one, the part of many outcomes that all images share is learned at once.
        layers["logits"] = nn.Linear(channels * 16, num_outcomes)
        self.layers = nn.Sequential(layers)
        self.apply(initialize)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def initialize(layer: nn.Module) -> None:
    """Convolutions N(0, 0.02), batch norm scales N(1, 0.02); the linear head keeps PyTorch's default."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
