"""Labels beside the input (Mirza and Osindero 2014, arXiv:1411.1784), one-hot."""

from dataclasses import dataclass

import torch
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
class ConcatGenerator(GeneratorLabels):
    """The generator's codes are longer by the one-hot label."""

    def wrap(self, build: BuildGenerator, latent_dim: int, num_classes: int) -> nn.Module:
        return LabelledCodes(build(latent_dim + num_classes), num_classes)


@dataclass(frozen=True, kw_only=True)
class ConcatDiscriminator(DiscriminatorLabels):
    """The discriminator's images have one more channel for each class: 1 everywhere in that of the label, else 0."""

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        channels, height, width = image_shape
        return LabelledImages(build((channels + num_classes, height, width), num_outcomes), num_classes)


class LabelledCodes(nn.Module):
    """A generator of codes and labels, from one of longer codes."""

    conditional = True

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def forward(self, codes: Codes, labels: Labels) -> Tensor:  # images, half as many as pairs of codes
        images: Tensor = self.network(torch.cat([codes, one_hot(labels, self.num_classes, codes)], 1))
        return images


class LabelledImages(nn.Module):
    """A discriminator of images and labels, from one of images with more channels."""

    conditional = True

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def forward(self, images: Images, labels: Labels) -> Logits:
        planes = one_hot(labels, self.num_classes, images)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        logits: Tensor = self.network(torch.cat([images, planes], 1))
        return logits


def one_hot(labels: Labels, num_classes: int, like: Tensor) -> Tensor:
    """[batch, classes], of the type of `like`; unlike torch's, it reads no value on the host."""
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(like.dtype)
