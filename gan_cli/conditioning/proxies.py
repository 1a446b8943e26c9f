"""An embedding of images beside a proxy of each class: ContraGAN (arXiv:2006.12681), ReACGAN (arXiv:2111.01118)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import nn
from torch.nn.functional import normalize

from gan_cli.conditioning.conditioning import BuildDiscriminator, DiscriminatorLabels, ImageShape
from gan_cli.conditioning.features import WithFeatures
from gan_cli.shapes import Images, Outputs


@dataclass(frozen=True, kw_only=True)
class Proxies(DiscriminatorLabels):
    """A second linear layer embeds the features at unit length, in `dim` dimensions, where each class has a proxy.

    The discriminator is not given labels; the regularizer `contrastive` or `d2d_ce` trains both players on the
    embedding. Raises ValueError for a network that does not end in a linear layer, or a `dim` below 1.
    """

    dim: Annotated[int, Ge(1)]

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return Embedding(build(image_shape, num_outcomes), num_outcomes, num_classes, self.dim)


class Embedding(nn.Module):
    """Images to logits, embedding and proxies."""

    embeds = True

    def __init__(self, network: nn.Module, num_outcomes: int, num_classes: int, dim: int) -> None:
        super().__init__()
        self.network = WithFeatures(network, num_outcomes)
        self.embedded = nn.Linear(self.network.num_features, dim)
        self.proxies = nn.Embedding(num_classes, dim)

    def forward(self, images: Images) -> Outputs:
        logits, features = self.network(images)
        embedding = normalize(self.embedded(features), dim=1)
        return Outputs(logits, embedding=embedding, proxies=normalize(self.proxies.weight, dim=1))
