"""BigGAN's networks against their description, written out a second time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, max_pool2d, relu

from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.models.biggan import Discriminator, Generator, SelfAttention
from gan_cli.models.conditional_norm import ConditionalBatchNorm

from ..conftest import TINY

LABELLED = [*TINY, "model=biggan", "dataset=digits", "latent_dim=7", "generator_labels=shared_batch_norm"]
BOTH_NORMS = "regularizer=[spectral_norm,generator_spectral_norm]"


def generator(width: int = 2, latent_dim: int = 8, size: int = 32) -> Generator:
    torch.manual_seed(0)
    return Generator(width=width, latent_dim=latent_dim, image_shape=(3, size, size)).double()


def randomized(network: nn.Module) -> None:
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)


def weights_of(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight, module.bias


def test_the_generator_is_the_one_described() -> None:
    """Without our layers: parts of the code, two norms a block, nearest pixels, attention before the last block."""
    network = generator()
    randomized(network)
    codes = torch.randn(3, 8, dtype=torch.float64)
    first, *parts = codes.split(2, 1)

    def normed(images: Tensor, layer: Any, part: Tensor) -> Tensor:
        scale, shift = part @ layer.scale.weight.T, part @ layer.shift.weight.T
        plain = batch_norm(images, None, None, training=True)
        return (1 + scale)[:, :, None, None] * plain + shift[:, :, None, None]

    linear = network.first[0]
    images = (first @ linear.weight.T + linear.bias).view(3, 8, 4, 4)
    for number, part in enumerate(parts):
        block: Any = network.blocks[number]
        norm, _, conv, other_norm, _, other_conv = block.residual
        inner = interpolate(relu(normed(images, norm, part)), scale_factor=2.0)
        inner = relu(normed(conv2d(inner, *weights_of(conv), padding=1), other_norm, part))
        shortcut = conv2d(interpolate(images, scale_factor=2.0), *weights_of(block.shortcut[0]))
        images = conv2d(inner, *weights_of(other_conv), padding=1) + shortcut
        if number == 1:
            images = network.attention(images)
    norm, _, conv, _ = network.last
    inner = relu(batch_norm(images, None, None, *weights_of(norm), training=True))
    torch.testing.assert_close(network(codes), conv2d(inner, *weights_of(conv), padding=1).tanh())


def test_attention_is_a_weighted_mean_of_the_largest_values() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16).double()
    images = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    assert torch.equal(attention(images), images), "the gain starts at 0"
    nn.init.constant_(attention.gain, 0.7)
    queries, keys, values = (conv2d(images, getattr(attention, name).weight) for name in ("queries", "keys", "values"))
    keys, values = max_pool2d(keys, 2), max_pool2d(values, 2)
    expected = images.clone()
    for image in range(2):
        for row in range(4):
            for column in range(4):
                likeness = torch.einsum("c,chw->hw", queries[image, :, row, column], keys[image])
                weights = likeness.exp() / likeness.exp().sum()
                mean = (values[image] * weights).sum((1, 2))
                expected[image, :, row, column] += 0.7 * attention.out.weight[:, :, 0, 0] @ mean
    torch.testing.assert_close(attention(images), expected)


def test_the_discriminator_halves_twice_and_sums_all_pixels() -> None:
    torch.manual_seed(0)
    network = Discriminator(width=2, image_shape=(3, 32, 32), num_outcomes=5).double()
    features = network.blocks(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    assert features.shape == (2, 4, 8, 8)
    assert isinstance(network.blocks[1], SelfAttention)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    summed = network.blocks(images).flatten(2).sum(2)
    torch.testing.assert_close(network(images), summed @ network.logits.weight.T + network.logits.bias)


def test_the_published_size_has_as_many_weights_as_its_layers() -> None:
    """Width 96 and 20 numbers in each part, counted by hand."""
    wide, part = 384, 20
    convolution, pointwise = wide * wide * 9 + wide, wide * wide + wide
    attention = 2 * wide * wide // 8 + 2 * wide * wide // 2 + 1
    blocks = 3 * (2 * convolution + pointwise + 4 * part * wide)
    ours = Generator(width=96, latent_dim=80, image_shape=(3, 32, 32))
    counted = (part + 1) * wide * 16 + blocks + attention + 2 * wide + (wide * 27 + 3)
    assert sum(map(Tensor.numel, ours.parameters())) == counted
    wide = 192
    convolution, pointwise = wide * wide * 9 + wide, wide * wide + wide
    attention = 2 * wide * wide // 8 + 2 * wide * wide // 2 + 1
    first = (3 * 9 * wide + wide) + convolution + (3 * wide + wide)
    theirs = Discriminator(width=96, image_shape=(3, 32, 32), num_outcomes=1)
    counted = first + attention + 2 * convolution + pointwise + 4 * convolution + wide + 1
    assert sum(map(Tensor.numel, theirs.parameters())) == counted


@pytest.mark.parametrize(("size", "latent_dim"), [(16, 3), (16, 128), (32, 80), (32, 5)])
def test_codes_of_any_width_have_parts(size: int, latent_dim: int) -> None:
    network = generator(latent_dim=latent_dim, size=size)
    codes = torch.randn(2, latent_dim, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(codes).square().sum(), codes)
    assert network(codes).shape == (2, 3, size, size)
    assert gradient.abs().sum(0).all(), "every number counts"


def test_fewer_numbers_than_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="biggan divides codes into 4 parts: latent_dim=3 is less"):
        generator(latent_dim=3)


def test_labels_and_code_are_one_linear_map_of_both(experiment: Callable[..., Experiment]) -> None:
    """(1 + W [z, e]) x + U [z, e]: the maps of code and label stand side by side; the last norm takes neither."""
    wrapped: Any = experiment(*LABELLED).game.generator
    norms = [layer for layer in wrapped.modules() if isinstance(layer, ConditionalBatchNorm)]
    assert len(norms) == 4
    layer: Any = norms[0]
    images, part = torch.randn(3, 16, 4, 4), torch.randn(3, layer.scale.own.in_features)
    embedded = wrapped.embedding(torch.tensor([4, 0, 9]))
    layer.condition.given, wrapped.condition.given = part, embedded
    found = layer.eval()(images)
    layer.condition.given = wrapped.condition.given = None
    scale, shift = (
        torch.cat([row.own.weight, row.row.weight], 1) @ torch.cat([part, embedded], 1).T
        for row in (layer.scale, layer.shift)
    )
    plain = layer.norm(images)
    torch.testing.assert_close(found, (1 + scale.T)[:, :, None, None] * plain + shift.T[:, :, None, None])
    assert any(isinstance(layer, nn.BatchNorm2d) and layer.affine for layer in wrapped.modules())


def test_spectral_norm_of_both_leaves_every_weight_a_largest_singular_value_of_1(
    experiment: Callable[..., Experiment],
) -> None:
    game = experiment(*LABELLED, "discriminator_labels=projection", BOTH_NORMS).game
    for network in (game.generator, game.discriminator):
        layers: list[Any] = [
            layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding)
        ]
        assert layers
        for layer in layers:
            largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
            assert largest.item() == pytest.approx(1.0, abs=0.05)


def test_a_generator_whose_weights_start_at_zero_is_refused(experiment: Callable[..., Experiment]) -> None:
    with pytest.raises(UserError, match="generator_spectral_norm: it cannot divide .* those of this generator do"):
        experiment(*TINY, "generator_labels=batch_norm", "regularizer=generator_spectral_norm")
