"""The auxiliary classifier of ACGAN (Odena et al. 2017, arXiv:1610.09585)."""

from dataclasses import dataclass

from torch import nn

from gan_cli.conditioning.conditioning import BuildDiscriminator, DiscriminatorLabels, ImageShape
from gan_cli.conditioning.features import WithFeatures
from gan_cli.shapes import Images, Outputs


@dataclass(frozen=True, kw_only=True)
class Auxiliary(DiscriminatorLabels):
    """A second linear layer on the features classifies; the discriminator is not given labels.

    The regularizer `classification` trains both players on it. Raises ValueError for a network that does not end in a
    linear layer.
    """

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return Classifying(build(image_shape, num_outcomes), num_outcomes, num_classes)


class Classifying(nn.Module):
    """Images to logits and class logits."""

    classifies = True

    def __init__(self, network: nn.Module, num_outcomes: int, num_classes: int) -> None:
        super().__init__()
        self.network = WithFeatures(network, num_outcomes)
        self.classes = nn.Linear(self.network.num_features, num_classes)

    def forward(self, images: Images) -> Outputs:
        logits, features = self.network(images)
        return Outputs(logits, class_logits=self.classes(features))
