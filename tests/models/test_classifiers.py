"""Models that only classify: their layers and sizes, and what they refuse."""

import pytest
import torch
from torch import nn

from gan_cli.models.classifier import Classifier
from gan_cli.models.conv_large import ConvLarge
from gan_cli.models.no_generator import NoGenerator


@pytest.mark.parametrize(("size", "convolutions"), [(8, 1), (16, 2), (32, 3)])
def test_the_small_classifier_halves_its_images_down_to_four_pixels(size: int, convolutions: int) -> None:
    network = Classifier(width=4, batch_norm=size == 16, image_shape=(3, size, size), num_outcomes=7)
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == convolutions
    assert network(torch.randn(2, 3, size, size)).shape == (2, 7)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == (2 if size == 16 else 0)
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert last[0].in_features == 16 * 4 * 2 ** (convolutions - 1)


def test_conv_large_has_the_layers_of_the_paper() -> None:
    with torch.device("meta"):
        network = ConvLarge(
            width=128, dropout=0.5, normalized_logits=True, image_shape=(3, 32, 32), num_outcomes=10
        ).eval()
        logits = network(torch.randn(2, 3, 32, 32))
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.out_channels, layer.kernel_size[0]) for layer in convolutions] == [
        *[(128, 3)] * 3,
        *[(256, 3)] * 3,
        *((512, 3), (256, 1), (128, 1)),
    ]
    assert logits.shape == (2, 10)
    assert sum(parameter.numel() for layer in convolutions for parameter in layer.parameters()) == 3_116_416
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in network.modules()) == 1
    slopes = {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_conv_large_reads_images_of_32_pixels() -> None:
    small = ConvLarge(width=2, dropout=0.5, normalized_logits=False, image_shape=(1, 32, 32), num_outcomes=4)
    assert small(torch.randn(3, 1, 32, 32)).shape == (3, 4)
    with pytest.raises(ValueError, match="set dataset.image_size=32"):
        ConvLarge(width=2, dropout=0.5, normalized_logits=False, image_shape=(1, 28, 28), num_outcomes=4)


def test_no_generator_makes_no_images() -> None:
    with pytest.raises(RuntimeError, match="no generator"):
        NoGenerator(latent_dim=3, image_shape=(1, 8, 8))(torch.zeros(1, 3))
