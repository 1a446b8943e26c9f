"""Fully connected networks, for toy points (AdvLatGAN, Li et al. 2022, appendix) and small images."""

import math
from itertools import pairwise

from torch import nn

from gan_cli.shapes import Images, Latents, Logits


class Generator(nn.Module):
    """Latents to images of any shape, through ReLU layers of the given widths.

    `bounded` ends in a tanh, for images in [-1, 1]; toy points have no bound.
    """

    def __init__(self, *, hidden: list[int], bounded: bool, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        ending = [nn.Tanh()] if bounded else []
        self.layers = nn.Sequential(
            *perceptron([latent_dim, *hidden, math.prod(image_shape)]), *ending, nn.Unflatten(1, image_shape)
        )

    def forward(self, latents: Latents) -> Images:
        return self.layers(latents)


class Discriminator(nn.Module):
    """Images of any shape to logits, through ReLU layers of the given widths."""

    def __init__(self, *, hidden: list[int], image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *perceptron([math.prod(image_shape), *hidden, num_outcomes]))

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


def perceptron(widths: list[int]) -> list[nn.Module]:
    """Linear layers from each width to the next, with ReLU between them."""
    if min(widths) < 1:
        raise ValueError(f"hidden={widths[1:-1]}: every width must be at least 1")
    layers: list[nn.Module] = [
        layer for fan_in, fan_out in pairwise(widths) for layer in (nn.Linear(fan_in, fan_out), nn.ReLU())
    ]
    return layers[:-1]
