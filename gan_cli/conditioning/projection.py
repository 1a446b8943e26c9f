"""The projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637)."""

from dataclasses import dataclass

from torch import nn

from gan_cli.conditioning.conditioning import BuildDiscriminator, DiscriminatorLabels, ImageShape
from gan_cli.conditioning.features import WithFeatures
from gan_cli.shapes import Images, Labels, Logits


@dataclass(frozen=True, kw_only=True)
class Projection(DiscriminatorLabels):
    """To each logit is added the inner product of an embedding of the label with the features.

    Every outcome has an embedding of its own: one that all of them share would cancel in a softmax over outcomes.
    Raises ValueError for a network that does not end in a linear layer.
    """

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return Projecting(build(image_shape, num_outcomes), num_outcomes, num_classes)


class Projecting(nn.Module):
    """Images and labels to logits."""

    conditional = True

    def __init__(self, network: nn.Module, num_outcomes: int, num_classes: int) -> None:
        super().__init__()
        self.network = WithFeatures(network, num_outcomes)
        self.num_outcomes = num_outcomes
        self.embedding = nn.Embedding(num_classes, num_outcomes * self.network.num_features)
        nn.init.xavier_uniform_(self.embedding.weight)  # as the authors do

    def forward(self, images: Images, labels: Labels) -> Logits:
        logits, features = self.network(images)
        directions = self.embedding(labels).unflatten(1, (self.num_outcomes, self.network.num_features))
        return logits + (directions @ features[:, :, None]).squeeze(2)
