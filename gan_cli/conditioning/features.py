"""Discriminators that make more of their features, which are what their last linear layer reads."""

from torch import Tensor, nn

from gan_cli.networks import input_of_last_linear, last_linear
from gan_cli.shapes import Features, Images, Logits


class ReadsFeatures(nn.Module):
    """A discriminator around `network`, whose last linear layer makes its logits.

    Raises ValueError if it does not.
    """

    def __init__(self, network: nn.Module, num_outcomes: int) -> None:
        super().__init__()
        layer = last_linear(network)[1]
        if layer.out_features != num_outcomes:
            raise ValueError(
                f"the last nn.Linear of {type(network).__name__} has {layer.out_features} outputs, not the "
                f"{num_outcomes} logits: its input is no features; end in nn.Linear, or set discriminator_labels=concat"
            )
        self.network = network
        self.num_features = layer.in_features

    def read(self, images: Images) -> tuple[Logits, Features]:
        with input_of_last_linear(self.network) as seen:
            logits: Tensor = self.network(images)
        return logits, seen[-1]
