"""Networks: shapes, parameter counts against published ones, and what they refuse."""

from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.config.build import build_bounds, build_gan
from gan_cli.config.read import read_config
from gan_cli.engine import Engine
from gan_cli.models import dcgan, mlp, mlp_maxout

from ..conftest import composed_config

MILLION = 1e6


def parameters(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / MILLION


def players(size: int, width: int, channels: int = 3, outcomes: int = 51) -> tuple[nn.Module, nn.Module]:
    shape = (channels, size, size)
    with torch.device("meta"):
        return (
            dcgan.Generator(width=width, latent_dim=128, image_shape=shape),
            dcgan.Discriminator(width=width, image_shape=shape, num_outcomes=outcomes),
        )


@pytest.mark.parametrize(
    ("size", "width", "generator_millions", "discriminator_millions"),
    [
        (32, 32, 0.43, 0.48),
        (32, 64, 1.18, 1.29),
        (32, 128, 3.68, 3.88),
        (64, 32, 1.21, 1.32),
        (64, 64, 3.81, 4.01),
        (64, 128, 13.1, 13.5),
        (128, 32, 3.84, 4.04),
        (128, 64, 13.3, 13.7),
        (128, 128, 48.8, 49.6),
        (256, 32, 13.3, 13.7),
        (256, 64, 48.9, 49.7),
        (256, 128, 187, 189),
        (1024, 16, 48.9, 49.8),
        (1024, 32, 187, 189),
        (1024, 64, 733, 736),
    ],
)
def test_dcgan_has_the_published_number_of_parameters(
    size: int, width: int, generator_millions: float, discriminator_millions: float
) -> None:
    generator, discriminator = players(size, width)
    assert parameters(generator) == pytest.approx(generator_millions, rel=0.012)
    # The published discriminator carries a second head of 2 x 51 outcomes, for its feature resampling.
    resampling_head = 2 * 51 * (width * size // 8 * 16) / MILLION
    assert parameters(discriminator) + resampling_head == pytest.approx(discriminator_millions, rel=0.012)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_makes_and_reads_every_power_of_two(size: int, channels: int) -> None:
    shape = (channels, size, size)
    generator = dcgan.Generator(width=2, latent_dim=3, image_shape=shape)
    discriminator = dcgan.Discriminator(width=2, image_shape=shape, num_outcomes=7)
    images = generator(torch.randn(2, 3))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (2, 7)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 4, 4), (3, 2048, 2048), (3, 32, 64), (2, 1, 1)])
def test_dcgan_refuses_other_shapes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="dcgan takes square images"):
        dcgan.Generator(width=8, latent_dim=3, image_shape=shape)
    with pytest.raises(ValueError, match="dcgan takes square images"):
        dcgan.Discriminator(width=8, image_shape=shape, num_outcomes=1)


def test_dcgan_initial_weights() -> None:
    torch.manual_seed(0)
    generator = dcgan.Generator(width=64, latent_dim=128, image_shape=(3, 32, 32))
    convolutions = [m.weight for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    for weight in convolutions:
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    scales = torch.cat([m.weight for m in generator.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1.0, abs=0.005)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 8, 8)])
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_mlp(shape: tuple[int, int, int], bounded: bool, batch_norm: bool) -> None:
    generator = mlp.Generator(hidden=[6, 5], batch_norm=batch_norm, bounded=bounded, latent_dim=3, image_shape=shape)
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in generator.modules()) == 2 * batch_norm
    images = generator.eval()(1000 * torch.randn(4, 3))
    assert images.shape == (4, *shape)
    assert (images.abs().max() <= 1).item() == bounded
    assert mlp.Discriminator(hidden=[6], image_shape=shape, num_outcomes=3)(images).shape == (4, 3)


def test_mlp_has_the_layers_of_the_toy_networks() -> None:
    network: Any = mlp.Generator(
        hidden=[100, 200, 100], batch_norm=False, bounded=False, latent_dim=2, image_shape=(2, 1, 1)
    )
    widths = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert widths == [(2, 100), (100, 200), (200, 100), (100, 2)]
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == 3


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = mlp_maxout.Maxout(2, 2, num_pieces=3)
    layer.pieces.weight.data = torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, 0], [0, -1], [2, 2]])
    layer.pieces.bias.data = torch.tensor([0.0, 0, 0.5, 0, -4, 0])
    inputs = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    # (1, -2): max(1, -2, -0.5) and max(-1, -2, -2); (0, 3): max(0, 3, 3.5) and max(0, -7, 6)
    assert layer(inputs).tolist() == [[1.0, -1.0], [3.5, 6.0]]


@pytest.mark.parametrize("outcomes", [1, 51])
def test_mlp_maxout_has_the_networks_of_the_toy_example(outcomes: int) -> None:
    objective = ["objective=realness", f"num_outcomes={outcomes}"] if outcomes > 1 else ["objective=hinge"]
    config, _ = read_config(composed_config("model=mlp_maxout", "latent_dim=128", *objective))
    game = build_gan(config, (2, 1, 1), [1, 1], Engine(), build_bounds(config, Engine())).game
    generator: Any = game.generator
    discriminator: Any = game.discriminator
    names = [type(layer).__name__ for layer in generator.layers]
    assert names == ["Linear", "BatchNorm1d", "ReLU"] * 4 + ["Linear", "Unflatten"]
    assert [type(layer).__name__ for layer in discriminator.layers] == ["Flatten"] + ["Maxout"] * 3 + ["Linear"]
    linear = [(m.in_features, m.out_features) for m in discriminator.modules() if isinstance(m, nn.Linear)]
    assert linear == [(2, 1000), (200, 1000), (200, 1000), (200, outcomes)]
    linear = [(m.in_features, m.out_features) for m in generator.modules() if isinstance(m, nn.Linear)]
    assert linear == [(128, 400), (400, 400), (400, 400), (400, 400), (400, 2)]
    images = generator(torch.randn(4, 128))
    assert images.shape == (4, 2, 1, 1)
    assert discriminator(images).shape == (4, outcomes)


def test_fully_connected_networks_refuse_what_they_cannot_be_made_of() -> None:
    toy: Any = {"image_shape": (2, 1, 1), "num_outcomes": 1}
    with pytest.raises(ValueError, match=r"hidden=\[0\]: every width must be at least 1"):
        mlp.Discriminator(hidden=[0], **toy)
    with pytest.raises(ValueError, match=r"hidden=\[0\]: every width must be at least 1"):
        mlp_maxout.Discriminator(hidden=[0], num_pieces=2, **toy)
    with pytest.raises(ValueError, match="num_pieces=0 must be at least 1"):
        mlp_maxout.Discriminator(hidden=[3], num_pieces=0, **toy)


def test_dcgan_has_the_published_layers() -> None:
    generator: Any = dcgan.Generator(width=4, latent_dim=3, image_shape=(1, 16, 16))
    discriminator: Any = dcgan.Discriminator(width=64, image_shape=(1, 16, 16), num_outcomes=1)
    names = [type(layer).__name__ for layer in generator.layers]
    between = ["BatchNorm2d", "ReLU"]
    assert names == ["PixelConvTranspose", *between, "ConvTranspose2d", *between, "ImageConvTranspose", "Tanh"]
    names = [type(layer).__name__ for layer in discriminator.layers]
    assert names == ["ImageConv", "LeakyReLU", "Conv2d", "LeakyReLU", "Flatten", "Linear"]
    layers = [*generator.modules(), *discriminator.modules()]
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert all(layer.bias is None for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))
    assert discriminator.layers.shrink4.weight.std().item() == pytest.approx(0.02, rel=0.05)
