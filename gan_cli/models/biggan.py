"""BigGAN's networks for small images (Brock et al. 2019, arXiv:1809.11096, appendix B).

Those of 32 pixels are as StudioGAN trains them on CIFAR-10 (Kang et al. 2022, arXiv:2206.09479); 16 pixels have a
block less on either side. The discriminator is SNGAN's residual one with a layer of self-attention. Labels are a choice
besides: generator_labels=shared_batch_norm gives them to the norms that read the code. Spectral norm is a regularizer.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.models.conditional_norm import Condition, ConditionalBatchNorm
from gan_cli.models.resnet import conv3x3, growing, reading
from gan_cli.models.shapes import check_generated, check_shape
from gan_cli.shapes import Codes, Images, Logits


class Plan(NamedTuple):
    """The number of the generator's blocks, each of which doubles 4 pixels; and whether each of the discriminator's
    halves them. Attention is at the last but one size of the generator, and after the discriminator's first block."""

    num_growing: int
    halving: tuple[bool, ...]


PLANS = {16: Plan(2, (True, False, False)), 32: Plan(3, (True, True, False, False))}
FIRST = 4  # pixels


class Generator(nn.Module):
    """Codes to images: the first part of a code makes 4 x 4 pixels, and each further part the norms of one block.

    Parts are as equal as they can be. All channels are four times the `width`. Raises ValueError for an image shape it
    cannot make, and for codes with fewer numbers than parts.
    """

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        shape = check_generated("biggan", image_shape, PLANS, width)
        self.num_parts = 1 + PLANS[shape.height].num_growing
        if latent_dim < self.num_parts:
            raise ValueError(
                f"biggan divides codes into {self.num_parts} parts: latent_dim={latent_dim} is less, set it higher"
            )
        first, *parts = (len(part) for part in torch.arange(latent_dim).tensor_split(self.num_parts))
        channels = 4 * width
        self.first = nn.Sequential(nn.Linear(first, channels * FIRST**2), nn.Unflatten(1, (channels, FIRST, FIRST)))
        self.conditions = [Condition() for _ in parts]
        self.blocks = nn.ModuleList(
            growing(channels, channels, partial(norm, part=part, condition=condition))
            for part, condition in zip(parts, self.conditions, strict=True)
        )
        self.attention = SelfAttention(channels)
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), conv3x3(channels, shape.channels), nn.Tanh())
        self.apply(orthogonal)

    def forward(self, codes: Codes) -> Images:
        first, *parts = codes.tensor_split(self.num_parts, 1)
        images = self.first(first)
        for number, (block, condition, part) in enumerate(zip(self.blocks, self.conditions, parts, strict=True), 1):
            condition.given = part
            try:
                images = block(images)
            finally:
                condition.given = None
            if number == len(self.blocks) - 1:
                images = self.attention(images)
        return self.last(images)


class Discriminator(nn.Module):
    """Images to logits: residual blocks, self-attention after the first, the sum over all pixels, one linear layer.

    All channels are twice the `width`. Raises ValueError for an image shape it cannot read.
    """

    def __init__(self, *, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        shape = check_shape("biggan", image_shape, PLANS, width)
        channels, (first, *others) = 2 * width, PLANS[shape.height].halving
        self.blocks = nn.Sequential(
            reading(shape.channels, channels, first=True, halving=first),
            SelfAttention(channels),
            *(reading(channels, channels, first=False, halving=halving) for halving in others),
            nn.ReLU(),
        )
        self.logits = nn.Linear(channels, num_outcomes)
        self.apply(orthogonal)

    def forward(self, images: Images) -> Logits:
        return self.logits(self.blocks(images).sum((2, 3)))


class SelfAttention(nn.Module):
    """Adds to each pixel a mean over all others, weighted by what they have in common, from a gain of 0 on.

    As in SAGAN (Zhang et al. 2019, arXiv:1805.08318, equations 1 to 3), with keys and values of the largest of every
    2 x 2 pixels and maps without a bias, as BigGAN's authors have it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8), max(1, channels // 2)
        self.queries, self.keys = (nn.Conv2d(channels, inner[0], 1, bias=False) for _ in range(2))
        self.values = nn.Conv2d(channels, inner[1], 1, bias=False)
        self.out = nn.Conv2d(inner[1], channels, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        queries = self.queries(images).flatten(2)
        keys, values = self.pool(self.keys(images)).flatten(2), self.pool(self.values(images)).flatten(2)
        weights = (queries.transpose(1, 2) @ keys).softmax(2)  # [batch, pixels, pooled pixels]
        means = (values @ weights.transpose(1, 2)).unflatten(2, images.shape[2:])
        return images + self.gain * self.out(means)


def norm(channels: int, *, part: int, condition: Condition) -> ConditionalBatchNorm:
    """A batch norm whose scale and shift are linear in the part of the code that its block is given."""
    scale, shift = (nn.Linear(part, channels, bias=False) for _ in range(2))
    return ConditionalBatchNorm(nn.BatchNorm2d(channels), scale, shift, condition)


def orthogonal(layer: nn.Module) -> None:
    """Orthogonal weights, biases of 0."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.orthogonal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
