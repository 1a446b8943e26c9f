"""Labels by linear functions of them alone, as in R3GAN (Huang et al. 2024, arXiv:2501.05441, appendix D)."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gan_cli.conditioning.conditioning import (
    BuildDiscriminator,
    BuildGenerator,
    DiscriminatorLabels,
    GeneratorLabels,
    ImageShape,
)
from gan_cli.shapes import Codes, Images, Labels, Logits


@dataclass(frozen=True, kw_only=True)
class EmbeddedCodes(GeneratorLabels):
    """The generator's codes are longer by an embedding of the label, of `dim` numbers."""

    dim: Annotated[int, Ge(1)]

    def wrap(self, build: BuildGenerator, latent_dim: int, num_classes: int) -> nn.Module:
        return Embedding(build(latent_dim + self.dim), num_classes, self.dim)


@dataclass(frozen=True, kw_only=True)
class InnerProduct(DiscriminatorLabels):
    """Each logit is the inner product of an embedding of the label and the network's `dim` outputs, and no more."""

    dim: Annotated[int, Ge(1)]

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return Product(build(image_shape, self.dim), num_outcomes, num_classes, self.dim)


class Embedding(nn.Module):
    """A generator of codes and labels, from one of longer codes."""

    conditional = True

    def __init__(self, network: nn.Module, num_classes: int, dim: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = table(num_classes, dim, gain=1.0)

    def forward(self, codes: Codes, labels: Labels) -> Tensor:  # images, half as many as pairs of codes
        images: Tensor = self.network(torch.cat([codes, self.embedding(labels)], 1))
        return images


class Product(nn.Module):
    """A discriminator of images and labels, from one of images with `dim` outputs."""

    conditional = True

    def __init__(self, network: nn.Module, num_outcomes: int, num_classes: int, dim: int) -> None:
        super().__init__()
        self.network = network
        self.num_outcomes = num_outcomes
        self.embedding = table(num_classes, num_outcomes * dim, gain=1 / math.sqrt(dim))

    def forward(self, images: Images, labels: Labels) -> Logits:
        features = self.network(images)
        directions = self.embedding(labels).unflatten(1, (self.num_outcomes, -1))
        return (directions @ features[:, :, None]).squeeze(2)


def table(num_classes: int, dim: int, gain: float) -> nn.Embedding:
    """A linear function of the one-hot label; its fan in is the number of classes."""
    embedding = nn.Embedding(num_classes, dim)
    nn.init.normal_(embedding.weight, std=gain / math.sqrt(num_classes))
    return embedding
