"""The networks of SNGAN, WGAN and AdvLatGAN: shapes, parameter counts, initial weights, and their forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.config.build import build_bounds, build_gan
from gan_cli.config.read import read_config
from gan_cli.engine import Engine
from gan_cli.game import Game
from gan_cli.models import cdcgan, cnn, dcgan_classic, resnet
from gan_cli.regularizers import SpectralNorm

from ..conftest import composed_config

Settings = dict[str, Any]
FORMS: dict[str, tuple[Any, Settings, Settings]] = {  # each with what its generator and its discriminator take
    "cdcgan": (cdcgan, {}, {}),
    "dcgan_classic": (dcgan_classic, {}, {}),
    "cnn sngan": (cnn, {"form": "sngan"}, {"form": "sngan"}),
    "cnn wgan": (cnn, {"form": "wgan"}, {"form": "wgan"}),
    "resnet sngan": (resnet, {}, {"form": "sngan"}),
    "resnet wgan_gp": (resnet, {}, {"form": "wgan_gp"}),
}
LARGEST = {"cdcgan": 32, "dcgan_classic": 64}
SIZES = [(form, size) for form in FORMS for size in (32, 48, 64, 128) if size <= LARGEST.get(form, 128)]


def generator(form: str, shape: tuple[int, int, int], width: int = 2, latent_dim: int = 3) -> Any:
    module, settings, _ = FORMS[form]
    return module.Generator(width=width, latent_dim=latent_dim, image_shape=shape, **settings)


def discriminator(form: str, shape: tuple[int, int, int], width: int = 2, outcomes: int = 1) -> Any:
    module, _, settings = FORMS[form]
    return module.Discriminator(width=width, image_shape=shape, num_outcomes=outcomes, **settings)


def weighted(network: nn.Module) -> dict[str, Any]:
    """The layers with a weight matrix, by name."""
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, kinds)}


@pytest.mark.parametrize(("form", "size"), SIZES)
@pytest.mark.parametrize(("channels", "outcomes"), [(1, 51), (3, 1)])
def test_every_size_is_made_and_read(form: str, size: int, channels: int, outcomes: int) -> None:
    shape = (channels, size, size)
    images = generator(form, shape, width=1)(torch.randn(2, 3))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert discriminator(form, shape, width=1, outcomes=outcomes)(images).shape == (2, outcomes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 256, 256), (3, 32, 48)])
def test_other_shapes_are_refused_with_one_that_fits(form: str, shape: tuple[int, int, int]) -> None:
    message = f"{form.split()[0]} takes square images of 32.* x {shape[1]} x {shape[2]}: set dataset.image_size="
    for player in (generator, discriminator):
        with pytest.raises(ValueError, match=message):
            player(form, shape)
        with pytest.raises(ValueError, match="use model=mlp"):
            player(form, (2, 1, 1))
        with pytest.raises(ValueError, match="width=0 must be at least 1"):
            player(form, (3, 32, 32), width=0)


@pytest.mark.parametrize("form", FORMS)
def test_images_of_more_channels_are_read_but_not_made(form: str) -> None:
    """Labels may lie beside an image."""
    with pytest.raises(ValueError, match=f"{form.split()[0]} makes images with 1 or 3 channels, not 4"):
        generator(form, (4, 32, 32))
    assert discriminator(form, (13, 32, 32))(torch.zeros(2, 13, 32, 32)).shape == (2, 1)


def test_the_nearest_size_is_named() -> None:
    with pytest.raises(ValueError, match="set dataset.image_size=32"):
        discriminator("cnn sngan", (1, 28, 28))
    with pytest.raises(ValueError, match="set dataset.image_size=64"):
        discriminator("dcgan_classic", (3, 128, 128))


Layer = tuple[int, int, int, bool]  # inputs, outputs, kernel size (1: linear, or pointwise), bias


def published(*choices: str, size: int) -> Game:
    """The networks with every value of their YAML, weightless."""
    config, _ = read_config(composed_config(*choices, "latent_dim=128"))
    engine = Engine(torch.device("meta"))
    with engine.device:
        return build_gan(config, (3, size, size), [1, 1], engine, build_bounds(config, engine)).game


def total(layers: list[Layer], norms: list[int]) -> int:
    return sum(fan_in * fan_out * kernel**2 + fan_out * bias for fan_in, fan_out, kernel, bias in layers) + 2 * sum(
        norms
    )


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("size", "start"), [(32, 2), (48, 3), (64, 4)])
def test_parameters_of_dcgan_classic(size: int, start: int) -> None:
    game = published("model=dcgan_classic", size=size)
    assert count(game.generator) == total(
        [
            (128, 1024, start, False),
            (1024, 512, 4, False),
            (512, 256, 4, False),
            (256, 128, 4, False),
            (128, 3, 4, False),
        ],
        norms=[1024, 512, 256, 128],
    )
    assert count(game.discriminator) == total(
        [
            (3, 64, 5, False),
            (64, 128, 5, False),
            (128, 256, 5, False),
            (256, 512, 5, False),
            (512 * start**2, 1, 1, True),
        ],
        norms=[128, 256, 512],
    )


@pytest.mark.parametrize(("form", "bias"), [("sngan", False), ("wgan", True)])
@pytest.mark.parametrize(("size", "start"), [(32, 4), (48, 6), (64, 8), (128, 16)])
def test_parameters_of_cnn(form: str, bias: bool, size: int, start: int) -> None:
    game = published("model=cnn", f"model.generator.form={form}", size=size)
    assert count(game.generator) == total(
        [
            (128, 512 * start**2, 1, True),
            (512, 256, 4, bias),
            (256, 128, 4, bias),
            (128, 64, 4, bias),
            (64, 3, 3, bias),
        ],
        norms=[256, 128, 64],
    )
    assert count(game.discriminator) == total(
        [
            (3, 64, 3, bias),
            (64, 64, 4, bias),
            (64, 128, 3, bias),
            (128, 128, 4, bias),
            (128, 256, 3, bias),
            (256, 256, 4, bias),
            (256, 512, 3, bias),
            (512 * start**2, 1, 1, bias),
        ],
        norms=[],
    )


def block(fan_in: int, fan_out: int) -> list[Layer]:
    """Two convolutions and a shortcut with weights of its own."""
    return [(fan_in, fan_out, 3, True), (fan_out, fan_out, 3, True), (fan_in, fan_out, 1, True)]


RESNETS: dict[int, tuple[list[Layer], list[int], list[Layer], int]] = {
    32: (
        [(128, 256 * 16, 1, True), *block(256, 256), *block(256, 256), *block(256, 256), (256, 3, 3, True)],
        [256, 256, 256, 256, 256, 256, 256],
        [*block(3, 128), *block(128, 128), *[(128, 128, 3, True)] * 4],
        128,
    ),
    48: (
        [(128, 512 * 36, 1, True), *block(512, 256), *block(256, 128), *block(128, 64), (64, 3, 3, True)],
        [512, 256, 256, 128, 128, 64, 64],
        [*block(3, 64), *block(64, 128), *block(128, 256), *block(256, 512)],
        512,
    ),
    64: (
        [
            (128, 1024 * 16, 1, True),
            *block(1024, 512),
            *block(512, 256),
            *block(256, 128),
            *block(128, 64),
            (64, 3, 3, True),
        ],
        [1024, 512, 512, 256, 256, 128, 128, 64, 64],
        [*block(3, 64), *block(64, 128), *block(128, 256), *block(256, 512), *block(512, 1024)],
        1024,
    ),
    128: (
        [
            (128, 1024 * 16, 1, True),
            *block(1024, 1024),
            *block(1024, 512),
            *block(512, 256),
            *block(256, 128),
            *block(128, 64),
            (64, 3, 3, True),
        ],
        [1024, 1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64],
        [
            *block(3, 64),
            *block(64, 128),
            *block(128, 256),
            *block(256, 512),
            *block(512, 1024),
            *[(1024, 1024, 3, True)] * 2,
        ],
        1024,
    ),
}


@pytest.mark.parametrize(("form", "bias"), [("sngan", False), ("wgan_gp", True)])
@pytest.mark.parametrize("size", RESNETS)
def test_parameters_of_resnet(form: str, bias: bool, size: int) -> None:
    game = published("model=resnet", f"model.discriminator.form={form}", size=size)
    layers, norms, discriminator_layers, features = RESNETS[size]
    assert count(game.generator) == total(layers, norms)
    assert count(game.discriminator) == total([*discriminator_layers, (features, 1, 1, bias)], norms=[])


def fans(layer: Any) -> tuple[int, int]:
    receptive = math.prod(layer.weight.shape[2:])
    return layer.weight.shape[1] * receptive, layer.weight.shape[0] * receptive


def assert_uniform(weight: Tensor, bound: float) -> None:
    assert weight.abs().max().item() <= bound * (1 + 1e-6)
    if weight.numel() >= 4000:
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("form", ["cnn sngan", "resnet sngan", "resnet wgan_gp"])
def test_xavier_weights(form: str) -> None:
    torch.manual_seed(0)
    shape = (3, 32, 32)
    for network in (generator(form, shape, width=16, latent_dim=128), discriminator(form, shape, width=16)):
        for name, layer in weighted(network).items():
            gain = math.sqrt(2) if "residual" in name else 1.0
            assert_uniform(layer.weight, gain * math.sqrt(6 / sum(fans(layer))))
            assert layer.bias is None or not layer.bias.any()
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert all((norm.weight == 1).all() for norm in norms)


@pytest.mark.parametrize("form", ["dcgan_classic", "cnn wgan"])
def test_weights_as_pytorch_leaves_them(form: str) -> None:
    torch.manual_seed(0)
    shape = (3, 32, 32)
    for network in (generator(form, shape, width=16, latent_dim=128), discriminator(form, shape, width=16)):
        for layer in weighted(network).values():
            assert_uniform(layer.weight, 1 / math.sqrt(fans(layer)[0]))
            assert layer.bias is None or layer.bias.any()


@pytest.mark.parametrize("form", FORMS)
def test_spectral_norm_is_put_on_the_initial_weights_of_every_layer(form: str) -> None:
    torch.manual_seed(0)
    network = discriminator(form, (3, 32, 32), width=4)
    before = {name: layer.weight.detach().clone() for name, layer in weighted(network).items()}
    SpectralNorm(num_power_iterations=20).impose(network)
    network(torch.randn(2, 3, 32, 32))
    network.eval()  # every look at a weight is a power iteration otherwise
    for name, layer in weighted(network).items():
        assert torch.equal(layer.parametrizations.weight.original, before[name])
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, rel=0.02)
        torch.testing.assert_close(layer.weight * (before[name].norm() / layer.weight.norm()), before[name])


def test_dcgan_classic_has_the_published_layers() -> None:
    shape = (3, 48, 48)
    names = [type(layer).__name__ for layer in generator("dcgan_classic", shape).layers]
    between = ["BatchNorm2d", "ReLU"]
    assert names == ["PixelConvTranspose", *[*between, "ConvTranspose2d"] * 3, *between, "ImageConvTranspose", "Tanh"]
    network = discriminator("dcgan_classic", shape)
    names = [type(layer).__name__ for layer in network.layers]
    assert names == ["ImageConv", "LeakyReLU"] + ["Conv2d", "LeakyReLU", "BatchNorm2d"] * 3 + ["Flatten", "Linear"]
    assert {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("form", ["cnn sngan", "cnn wgan"])
def test_cnn_has_the_published_layers(form: str) -> None:
    shape = (3, 48, 48)
    names = [type(layer).__name__ for layer in generator(form, shape).layers]
    assert names == ["Linear", "Unflatten"] + ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 3 + ["Conv2d", "Tanh"]
    network = discriminator(form, shape)
    names = [type(layer).__name__ for layer in network.layers]
    assert names == ["Conv2d", "LeakyReLU"] * 7 + ["Flatten", "Linear"]
    assert {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)} == {0.1}


def test_resnet_normalises_the_generator_alone_and_nothing_in_place() -> None:
    for form in ("resnet sngan", "resnet wgan_gp"):
        made, read = generator(form, (3, 32, 32)), discriminator(form, (3, 32, 32))
        assert sum(isinstance(layer, nn.BatchNorm2d) for layer in made.modules()) == 7
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in read.modules())
        assert not any(getattr(layer, "inplace", False) for layer in [*made.modules(), *read.modules()])
        starts = [type(block.residual[0]).__name__ for block in read.blocks[:-1]]
        assert starts == ["Conv2d", "ReLU", "ReLU", "ReLU"]  # images are not rectified


@pytest.mark.parametrize("kind", ["growing", "halving", "widening", "plain", "first"])
def test_the_residual_branch_leaves_the_skipped_input_alone(kind: str) -> None:
    torch.manual_seed(0)
    network = {
        "growing": lambda: resnet.growing(2, 3),
        "halving": lambda: resnet.reading(2, 2, first=False, halving=True),
        "widening": lambda: resnet.reading(2, 3, first=False, halving=False),
        "plain": lambda: resnet.reading(2, 2, first=False, halving=False),
        "first": lambda: resnet.reading(2, 3, first=True, halving=True),
    }[kind]()
    inputs = torch.randn(2, 2, 4, 4)
    kept = inputs.clone()
    outputs = network(inputs)
    assert torch.equal(inputs, kept)
    torch.testing.assert_close(outputs, network.residual(kept.clone()) + network.shortcut(kept.clone()))


def test_a_block_with_a_silent_residual_is_the_identity_or_its_published_shortcut() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 2, 4, 4)
    plain = resnet.reading(2, 2, first=False, halving=False)
    growing = resnet.growing(2, 3)
    halving = resnet.reading(2, 3, first=False, halving=True)
    for network in (plain, growing, halving):
        for layer in weighted(network.residual).values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    assert torch.equal(plain(inputs), inputs)
    (pointwise,) = weighted(growing.shortcut).values()
    torch.testing.assert_close(growing(inputs), pointwise(nn.functional.interpolate(inputs, scale_factor=2)))
    (pointwise,) = weighted(halving.shortcut).values()
    torch.testing.assert_close(halving(inputs), nn.functional.avg_pool2d(pointwise(inputs), 2))


@pytest.mark.parametrize(("size", "pixels"), [(32, 8 * 8), (48, 3 * 3), (64, 2 * 2), (128, 4 * 4)])
def test_the_forms_of_resnet_differ_by_the_pixels_they_sum_over(size: int, pixels: int) -> None:
    shape, images = (3, size, size), torch.randn(2, 3, size, size)
    summing, averaging = (discriminator(f"resnet {form}", shape, outcomes=5) for form in ("sngan", "wgan_gp"))
    averaging.load_state_dict(summing.state_dict() | {"logits.bias": torch.zeros(5)})
    torch.testing.assert_close(summing(images), pixels * averaging(images))
    averaging.logits.bias.data += torch.arange(5)
    torch.testing.assert_close(summing(images), pixels * (averaging(images) - torch.arange(5)))
