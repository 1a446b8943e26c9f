"""The discriminator of RealnessGAN's toy example (Xiangli et al. 2020, arXiv:2002.05512); mlp makes its generator."""

import math

from torch import Tensor, nn

from gan_cli.models.mlp import perceptron
from gan_cli.shapes import Images, Logits


class Discriminator(nn.Module):
    """Images of any shape to logits, through maxout layers of the given widths and one linear layer.

    Raises ValueError for a width or a number of pieces below 1.
    """

    def __init__(
        self, *, hidden: list[int], num_pieces: int, image_shape: tuple[int, int, int], num_outcomes: int
    ) -> None:
        super().__init__()
        if num_pieces < 1:
            raise ValueError(f"num_pieces={num_pieces} must be at least 1")
        widths = [math.prod(image_shape), *hidden, num_outcomes]
        layers = perceptron(widths, lambda fan_in, fan_out: [Maxout(fan_in, fan_out, num_pieces)])
        self.layers = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, images: Images) -> Logits:
        return self.layers(images)


class Maxout(nn.Module):
    """Each output is the largest of `num_pieces` linear functions (Goodfellow et al. 2013, arXiv:1302.4389)."""

    def __init__(self, fan_in: int, fan_out: int, num_pieces: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(fan_in, fan_out * num_pieces)
        self.num_pieces = num_pieces

    def forward(self, inputs: Tensor) -> Tensor:
        return self.pieces(inputs).unflatten(1, (-1, self.num_pieces)).amax(2)
