"""Fully connected networks, for toy points (AdvLatGAN, Li et al. 2022, appendix) and small images."""

import math
from collections.abc import Callable
from itertools import pairwise

from torch import nn

from gan_cli.shapes import Codes, Images, Logits


class Generator(nn.Module):
    """Codes to images of any shape, through ReLU layers of the given widths.

    `batch_norm` normalises before each ReLU. `bounded` ends in a tanh, for images in [-1, 1]; toy points have no bound.
    """

    def __init__(
        self, *, hidden: list[int], batch_norm: bool, bounded: bool, latent_dim: int, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        widths = [latent_dim, *hidden, math.prod(image_shape)]
        layers = perceptron(widths, normalized if batch_norm else rectified)
        ending = [nn.Tanh()] if bounded else []
        self.layers = nn.Sequential(*layers, *ending, nn.Unflatten(1, image_shape))

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes)


class Discriminator(nn.Module):
    """Images of any shape to logits, through ReLU layers of the given widths."""

    def __init__(self, *, hidden: list[int], image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        widths = [math.prod(image_shape), *hidden, num_outcomes]
        self.layers = nn.Sequential(nn.Flatten(), *perceptron(widths, rectified))

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def perceptron(widths: list[int], hidden_layer: Callable[[int, int], list[nn.Module]]) -> list[nn.Module]:
    """Layers from each width to the next, of which the last is linear; raises ValueError for a width below 1."""
    if min(widths) < 1:
        raise ValueError(f"hidden={widths[1:-1]}: every width must be at least 1")
    *hidden, (fan_in, fan_out) = pairwise(widths)
    return [layer for pair in hidden for layer in hidden_layer(*pair)] + [nn.Linear(fan_in, fan_out)]


def rectified(fan_in: int, fan_out: int) -> list[nn.Module]:
    return [nn.Linear(fan_in, fan_out), nn.ReLU()]


def normalized(fan_in: int, fan_out: int) -> list[nn.Module]:
    return [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU()]
