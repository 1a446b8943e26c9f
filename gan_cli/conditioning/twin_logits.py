"""One set of logits that both classifies and judges (UCD, arXiv:2510.00624)."""

from dataclasses import dataclass

from torch import Tensor, nn

from gan_cli.conditioning.conditioning import BuildDiscriminator, DiscriminatorLabels, ImageShape
from gan_cli.shapes import Images, Labels, Outputs


@dataclass(frozen=True, kw_only=True)
class TwinLogits(DiscriminatorLabels):
    """The discriminator has `num_outcomes` logits for every class, and sees no label; those of the label are judged.

    The class logits are the log-sum-exp over the outcomes of each class, which is the logit itself where there is one:
    the cross entropy is that of one softmax over class and outcome. The regularizer `classification` trains both
    players on them.
    """

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return Choosing(build(image_shape, num_classes * num_outcomes), num_classes)


class Choosing(nn.Module):
    """Images and labels to the logits of the label, and class logits."""

    conditional = True
    classifies = True
    classes_from_logits = True  # so that every output has to be a logit of the objective

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def forward(self, images: Images, labels: Labels) -> Outputs:
        made: Tensor = self.network(images).unflatten(1, (self.num_classes, -1))
        own = labels[:, None, None].expand(-1, 1, made.shape[2])
        return Outputs(made.gather(1, own).squeeze(1), class_logits=made.logsumexp(2))
