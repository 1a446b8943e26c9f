"""ConvLarge, the classifier of virtual adversarial training (Miyato et al. 2018, arXiv:1704.03976, table 7)."""

from torch import nn

from gan_cli.models.shapes import check_shape
from gan_cli.shapes import Images, Logits

SIZES = (32,)


class ConvLarge(nn.Module):
    """Images of 32 pixels to logits: nine convolutions, each with batch norm and leaky ReLU of slope 0.1.

    Three of `width` channels and 3x3 pixels, three of twice as many, each group ending in a maximum over 2x2 pixels
    and `dropout`; then one of four times as many without padding, two of 1x1 pixels down to `width` channels, the mean
    over the image, and a linear layer. The logits are normalized over the batch with `normalized_logits`, as for SVHN.
    The paper's width is 128, its dropout 0.5. Raises ValueError for an image shape it cannot read.
    """

    def __init__(
        self,
        *,
        width: int,
        dropout: float,
        normalized_logits: bool,
        image_shape: tuple[int, int, int],
        num_outcomes: int,
    ) -> None:
        super().__init__()
        shape = check_shape("conv_large", image_shape, SIZES, width)
        layers: list[nn.Module] = []
        channels = shape.channels
        for fan_out in (width, 2 * width):
            for _ in range(3):
                layers += convolution(channels, fan_out, 3, padding=1)
                channels = fan_out
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        for fan_out, size in ((4 * width, 3), (2 * width, 1), (width, 1)):
            layers += convolution(channels, fan_out, size)
            channels = fan_out
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_outcomes)]
        if normalized_logits:
            layers.append(nn.BatchNorm1d(num_outcomes))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def convolution(fan_in: int, fan_out: int, size: int, padding: int = 0) -> list[nn.Module]:
    return [
        nn.Conv2d(fan_in, fan_out, size, padding=padding, bias=False),
        nn.BatchNorm2d(fan_out),
        nn.LeakyReLU(0.1),
    ]
