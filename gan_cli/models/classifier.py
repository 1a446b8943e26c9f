"""A small convolutional classifier, of the kind of the shipped classifiers of digits."""

from itertools import pairwise

from torch import nn

from gan_cli.models.shapes import check_shape
from gan_cli.shapes import Images, Logits

SIZES = (8, 16, 32, 64)


class Classifier(nn.Module):
    """Images to logits: 3x3 convolutions, each with ReLU and a maximum over 2x2 pixels, down to 4 pixels; two layers.

    Images of 16 pixels have two convolutions, of 32 three. `width` is the number of channels after the first one, which
    doubles after each; with `batch_norm`, one comes before each ReLU of a convolution. Raises ValueError for an image
    shape it cannot read.
    """

    def __init__(self, *, width: int, batch_norm: bool, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("classifier", image_shape, SIZES, width)
        num_convolutions = (shape.height // 4).bit_length() - 1
        channels = [shape.channels, *(width << number for number in range(num_convolutions))]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(channels):
            norm = [nn.BatchNorm2d(fan_out)] if batch_norm else []
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
        hidden = 2 * width
        layers += [nn.Flatten(), nn.Linear(16 * channels[-1], hidden), nn.ReLU(), nn.Linear(hidden, num_outcomes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)
