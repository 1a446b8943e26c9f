"""The plain convolutional networks of SNGAN (Miyato et al. 2018, arXiv:1802.05957, table 3), and their form for WGAN.

Layers and forms are those of pytorch-gan-collections, with which AdvLatGAN (Li et al. 2022) trains SNGAN, WGAN and
WGAN-GP: `sngan` has no bias after a convolution nor in the discriminator's head, and xavier weights; `wgan` has biases,
and weights as PyTorch leaves them. Spectral norm is a regularizer.
"""

from functools import partial
from itertools import pairwise
from typing import Literal

from torch import nn

from gan_cli.models.initialization import xavier
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits

Form = Literal["sngan", "wgan"]

SIZES = (32, 48, 64, 128)


class Generator(nn.Module):
    """Codes to images: one linear layer, transposed 4x4 convolutions that double the size three times, one 3x3 layer.

    Batch norm and ReLU follow each transposed convolution, tanh the last layer. `width` is the number of channels
    before the last layer. Raises ValueError for an image shape it cannot make.
    """

    def __init__(self, *, form: Form, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("cnn", image_shape, SIZES, width)
        biased = form == "wgan"
        channels, size = [8 * width, 4 * width, 2 * width, width], shape.height // 8
        layers = [nn.Linear(latent_dim, channels[0] * size**2), nn.Unflatten(1, (channels[0], size, size))]
        for fan_in, fan_out in pairwise(channels):
            grow = nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=biased)
            layers += [grow, nn.BatchNorm2d(fan_out), nn.ReLU()]
        image = nn.Conv2d(width, shape.channels, 3, padding=1, bias=biased)
        self.layers = nn.Sequential(*layers, image, nn.Tanh())
        initialize(self, form)

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes)


class Discriminator(nn.Module):
    """Images to logits: 3x3 convolutions, and between them 4x4 ones that halve the size, leaky ReLU, one linear layer.

    `width` is the number of channels after the first layer. Raises ValueError for an image shape it cannot read.
    """

    def __init__(self, *, form: Form, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("cnn", image_shape, SIZES, width)
        biased = form == "wgan"
        channels = [shape.channels, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for number, (fan_in, fan_out) in enumerate(pairwise(channels)):
            kernel, stride = (4, 2) if number % 2 else (3, 1)
            layers += [nn.Conv2d(fan_in, fan_out, kernel, stride, padding=1, bias=biased), nn.LeakyReLU(0.1)]
        num_features = channels[-1] * (shape.height // 8) ** 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(num_features, num_outcomes, bias=biased))
        initialize(self, form)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def initialize(network: nn.Module, form: Form) -> None:
    if form == "sngan":
        network.apply(partial(xavier, gain=1.0))
