"""What images are compared in: their own numbers, or the features of a frozen network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_cli.metrics.extractor import LoadedExtractor
from gan_cli.shapes import Features, Images


class Pixels(nn.Module):
    """Images, or points, as rows of their own numbers."""

    def forward(self, images: Images) -> Features:
        return images.flatten(1)


class FrozenFeatures(nn.Module):
    """The features of an extractor, through which the images' gradient flows.

    A network of grey images reads each channel by itself, so that no colour is lost; one of colours gets grey three
    times. The network comes with a package, so it is neither trained nor in a checkpoint. Raises RuntimeError for
    images with channels that do not fit.
    """

    def __init__(self, extractor: LoadedExtractor) -> None:
        super().__init__()
        self.channels = extractor.channels
        self.held = (extractor.network,)  # in a tuple it is no submodule, whose weights would be this network's

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenFeatures":
        self.held[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, images: Images) -> Features:
        pixels = 127.5 * (images + 1)
        if self.channels == 1:
            features: Features = self.held[0](pixels.flatten(0, 1)[:, None])[0]
            return features.unflatten(0, images.shape[:2]).flatten(1)
        return self.held[0](pixels.expand(-1, self.channels, -1, -1))[0]


def check_differentiable(network: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError for a network that does not read such images, or through which no gradient flows."""
    images = torch.zeros(1, *image_shape, requires_grad=True)
    try:
        flows = bool(network(images).requires_grad)
    except Exception as error:  # the network may be anyone's
        shape = " x ".join(map(str, image_shape))
        raise ValueError(f"features: the network does not read images of {shape}: choose another") from error
    if not flows:
        raise ValueError("features: no gradient flows through the network: choose another")
