"""A discriminator with its features, which are what its last linear layer reads."""

from torch import Tensor, nn

from gan_cli.networks import input_of_last_linear, last_linear
from gan_cli.shapes import Features, Images, Logits


class WithFeatures(nn.Module):
    """Images to the logits of `network` and their features.

    Raises ValueError unless the last linear layer of `network` makes the logits.
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

    def forward(self, images: Images) -> tuple[Logits, Features]:
        with input_of_last_linear(self.network) as seen:
            logits: Tensor = self.network(images)
        return logits, seen[-1]
