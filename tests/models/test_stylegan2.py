"""StyleGAN2's networks against the definitions of their parts, and style mixing at the door."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from gan_cli.conditioning.concat import ConcatGenerator
from gan_cli.conditioning.embedding import EmbeddedCodes, InnerProduct
from gan_cli.experiment import Experiment
from gan_cli.game import Game, with_partners
from gan_cli.models.resampling import Smooth
from gan_cli.models.stylegan2 import (
    BatchDeviation,
    Discriminator,
    EqualizedConv,
    EqualizedLinear,
    Generator,
    Normalized,
    Shrink,
    StyledLayer,
    ToImages,
    stage_channels,
)
from gan_cli.networks import takes_pairs
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import R1
from gan_cli.trainer import train

from ..conftest import TINY
from ..values import a_turn, latents

DOUBLE = {"dtype": torch.float64}


def generator(**changes: object) -> Generator:
    settings = {"width": 4, "full_width_until": 16, "mapping_depth": 2, "mixing": 0.0, "latent_dim": 6}
    return Generator(**{"image_shape": (3, 16, 16)} | settings | changes).double()  # type: ignore[arg-type]


def discriminator(**changes: object) -> Discriminator:
    settings = {"width": 4, "full_width_until": 16, "residual": True, "deviation_group": 4, "num_outcomes": 1}
    return Discriminator(**{"image_shape": (3, 16, 16)} | settings | changes).double()  # type: ignore[arg-type]


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def random(network: nn.Module) -> nn.Module:
    """Every parameter is random, also those that start at 0 or 1."""
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("grow", [False, True])
def test_a_styled_layer_is_a_convolution_with_a_kernel_for_each_image(grow: bool) -> None:
    layer = random(StyledLayer(3, 5, 7, size=8, grow=grow).double().eval())
    assert isinstance(layer, StyledLayer)
    features, styles = torch.randn(4, 3, *(2 * [4 if grow else 8]), **DOUBLE), torch.randn(4, 7, **DOUBLE)
    expected = []
    for image, style in zip(features, styles, strict=True):
        scale = layer.affine.weight @ style / math.sqrt(7) + layer.affine.bias
        kernel = layer.weight * scale[:, None, None]
        kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if grow:
            made = conv_transpose2d(image[None], kernel.transpose(0, 1), stride=2)
            line = torch.tensor([1.0, 3.0, 3.0, 1.0], **DOUBLE) / 4
            made = conv2d(made.transpose(0, 1), torch.outer(line, line)[None, None], padding=1).transpose(0, 1)
        else:
            made = conv2d(image[None], kernel, padding=1)
        made = made + layer.strength * layer.noise + layer.bias[:, None, None]
        expected.append(math.sqrt(2) * leaky_relu(made, 0.2))
    torch.testing.assert_close(layer(features, styles), torch.cat(expected), rtol=1e-12, atol=1e-12)


def test_making_images_modulates_without_demodulation() -> None:
    layer = random(ToImages(3, 2, 7).double())
    features, styles = torch.randn(4, 3, 5, 5, **DOUBLE), torch.randn(4, 7, **DOUBLE)
    assert isinstance(layer, ToImages)
    scales = styles @ layer.affine.weight.T / math.sqrt(7) + layer.affine.bias
    kernels = layer.weight[None, :, :, 0, 0] * scales[:, None] / math.sqrt(3)
    expected = torch.einsum("boi,bihw->bohw", kernels, features) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(features, styles), expected, rtol=1e-12, atol=1e-12)


def test_demodulated_outputs_have_unit_variance_for_any_style() -> None:
    """Of independent inputs of variance one, away from the border (section 2.2)."""
    torch.manual_seed(0)
    layer = StyledLayer(8, 6, 5, size=16, grow=False).double().requires_grad_(False)
    scales = 3 * torch.randn(2, 8, **DOUBLE)
    features = torch.randn(4000, 8, 3, 3, **DOUBLE)
    for scale in scales:
        made = conv2d(features * scale[:, None, None], layer.weight)[:, :, 0, 0]
        whitened = made * layer.demodulation(scale[None])
        torch.testing.assert_close(whitened.var(0), torch.ones(6, **DOUBLE), rtol=0.12, atol=0)
        assert made.var(0).max() > 4


def test_layers_have_their_gain_and_start_at_unit_variance() -> None:
    torch.manual_seed(0)
    dense = EqualizedLinear(50, 40, gain=1.5, rate=0.01).double()
    assert dense.weight.std().item() == pytest.approx(100, rel=0.05)
    inputs = torch.randn(3, 50, **DOUBLE)
    nn.init.normal_(dense.bias)
    expected = 1.5 * 0.01 * (inputs @ dense.weight.T / math.sqrt(50) + dense.bias)
    torch.testing.assert_close(dense(inputs), expected, rtol=1e-12, atol=1e-12)
    conv = EqualizedConv(5, 4, 3, gain=1.5, stride=2, padding=1).double()
    assert conv.weight.std().item() == pytest.approx(1, rel=0.15)
    images = torch.randn(2, 5, 8, 8, **DOUBLE)
    nn.init.normal_(conv.bias)
    expected = 1.5 * conv2d(images, conv.weight / math.sqrt(45), conv.bias, stride=2, padding=1)
    torch.testing.assert_close(conv(images), expected, rtol=1e-12, atol=1e-12)


def test_the_mapping_moves_at_a_hundredth_of_the_rate() -> None:
    """By the first step of Adam, whose length is the rate for every weight."""
    layers = [EqualizedLinear(6, 6, gain=1.0, rate=rate).double() for rate in (1.0, 0.01)]
    with torch.no_grad():
        layers[1].weight.copy_(100 * layers[0].weight)
    inputs = torch.randn(4, 6, **DOUBLE)
    before = layers[0](inputs)
    torch.testing.assert_close(layers[1](inputs), before)
    moved = []
    for layer in layers:
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3, betas=(0.0, 0.99), eps=0.0)
        layer(inputs).square().sum().backward()
        optimizer.step()
        moved.append((layer(inputs) - before).detach())
    torch.testing.assert_close(moved[1], 0.01 * moved[0], rtol=1e-9, atol=1e-12)


def test_the_mapping_reads_the_direction_of_a_code() -> None:
    codes = torch.randn(3, 6, **DOUBLE)
    torch.testing.assert_close(Normalized()(codes).square().mean(1), torch.ones(3, **DOUBLE), rtol=1e-7, atol=0)
    mapping = generator().mapping
    torch.testing.assert_close(mapping(7 * codes), mapping(codes), rtol=1e-7, atol=1e-9)
    assert not torch.allclose(mapping(-codes), mapping(codes))


@pytest.mark.parametrize(("images", "group", "size"), [(8, 4, 4), (4, 32, 4), (6, 4, 3), (5, 4, 1)])
def test_the_deviation_is_that_of_the_images_of_a_group(images: int, group: int, size: int) -> None:
    features = torch.randn(images, 3, 2, 2, **DOUBLE)
    made = BatchDeviation(group)(features)
    assert torch.equal(made[:, :3], features)
    for number in range(images):
        own = features[number % (images // size) :: images // size]
        assert len(own) == size
        expected = (((own - own.mean(0)) ** 2).mean(0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(made[number, 3], expected.expand(2, 2), rtol=1e-12, atol=1e-12)


def test_the_filter_keeps_a_constant_and_the_size_that_its_padding_gives() -> None:
    constant = torch.full((1, 2, 8, 8), 3.0, **DOUBLE)
    for padding, gain in ((1, 1.0), (2, 4.0)):
        made = Smooth(padding=padding, gain=gain).double()(constant)
        assert made.shape[-1] == 8 + 2 * padding - 3
        inside = made[..., padding:-padding, padding:-padding]
        assert torch.allclose(inside, torch.full_like(inside, 3.0 * gain), rtol=1e-12)


def test_a_layer_that_grows_keeps_a_constant_inside() -> None:
    """One whose kernel spreads nothing: the middle tap alone, at half the filter's positions."""
    layer = StyledLayer(1, 1, 2, size=16, grow=True).double().eval()
    with torch.no_grad():
        layer.weight.copy_(torch.zeros(1, 1, 3, 3).index_put_((*torch.tensor([[0], [0], [1], [1]]),), torch.ones(1)))
    made = layer(torch.ones(1, 1, 8, 8, **DOUBLE), torch.zeros(1, 2, **DOUBLE))[..., 2:-2, 2:-2]
    torch.testing.assert_close(made, torch.full_like(made, math.sqrt(2)), rtol=1e-7, atol=0)


def test_a_residual_pair_is_the_sum_of_both_ways_over_root_two() -> None:
    block = random(Shrink(3, 5, residual=True).double())
    plain = Shrink(3, 5, residual=False).double()
    plain.layers.load_state_dict(block.layers.state_dict())  # type: ignore[operator, union-attr]
    images = torch.randn(2, 3, 8, 8, **DOUBLE)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], **DOUBLE) / 8
    kernel = torch.outer(line, line).expand(3, 1, 4, 4)
    skip = conv2d(conv2d(images, kernel, stride=2, padding=1, groups=3), block.skip[1].weight / math.sqrt(3))  # type: ignore[index, operator]
    torch.testing.assert_close(block(images), (plain(images) + skip) / math.sqrt(2), rtol=1e-12, atol=1e-12)
    assert plain(images).shape == (2, 5, 4, 4)


def test_networks_have_the_layers_and_the_parameters_of_their_definition() -> None:
    """At 8 pixels, width 4, codes of 6: counted by hand."""
    shape, mapping = (3, 8, 8), 2 * (6 * 6 + 6)
    layer, image = (6 * 4 + 4) + 4 * 4 * 9 + 4 + 1, (6 * 4 + 4) + 4 * 3 + 3  # affine, kernel, bias, strength of noise
    assert count(generator(image_shape=shape)) == mapping + 4 * 4 * 4 + 3 * layer + 2 * image
    pair = 2 * (4 * 4 * 9 + 4)
    end = (4 * 5 * 9 + 4) + (4 * 16 * 4 + 4) + (4 + 1)
    assert count(discriminator(image_shape=shape, residual=False)) == (3 * 4 + 4) + pair + end
    assert count(discriminator(image_shape=shape)) == (3 * 4 + 4) + pair + 4 * 4 + end


def test_channels_are_the_base_over_the_size_up_to_the_width() -> None:
    """The authors' min(base / size, 512), whose base is the width times the last size of full width."""
    for base, until in ((32768, 64), (16384, 32)):
        expected = [min(base // size, 512) for size in (4, 8, 16, 32, 64, 128, 256, 512, 1024)]
        assert stage_channels(1024, 512, until) == expected
    with pytest.raises(ValueError, match="width=3 leaves no channel at 64 pixels: make it at least 4"):
        stage_channels(64, 3, 16)


@pytest.mark.parametrize(
    ("size", "channels"), [(8, 1), (32, 3), *(pytest.param(n, 3, marks=pytest.mark.slow) for n in (16, 64, 256))]
)
def test_images_and_logits_have_their_shapes_at_every_size(size: int, channels: int) -> None:
    network = generator(image_shape=(channels, size, size), width=16)
    assert network.synthesis.style_shape == (2 * int(math.log2(size)) - 2, 6)
    made = network(torch.randn(2, 6, **DOUBLE))
    assert made.shape == (2, channels, size, size)
    judge = discriminator(image_shape=(channels, size, size), num_outcomes=7, residual=size > 8, width=16)
    assert judge(made).shape == (2, 7)


@pytest.mark.parametrize(("shape", "said"), [((3, 28, 28), "set dataset.image_size=32"), ((2, 1, 1), "use model=mlp")])
def test_images_of_another_size_are_refused(shape: tuple[int, int, int], said: str) -> None:
    for build in (generator, discriminator):
        with pytest.raises(ValueError, match=said):
            build(image_shape=shape)


def noisy(**changes: object) -> Generator:
    network = generator(**changes)
    for layer in network.synthesis.layers:
        nn.init.ones_(layer.strength)  # type: ignore[arg-type]
    return network


def test_noise_is_random_in_training_and_at_rest_images_depend_on_their_code_alone() -> None:
    network, codes = noisy(mixing=0.0), torch.randn(3, 6, **DOUBLE)
    assert not torch.allclose(network(codes), network(codes))
    network.eval()
    torch.testing.assert_close(network(codes[1:]), network(codes)[1:], rtol=1e-12, atol=1e-12)


def test_mixing_takes_later_layers_from_the_second_code_in_that_share_of_images() -> None:
    torch.manual_seed(0)
    halves = generator(mixing=0.75).mixed(torch.zeros(5000, 6, 1), torch.ones(5000, 6, 1))[:, :, 0].long()
    assert not halves[:, 0].any()
    assert (halves.diff(dim=1) >= 0).all()
    starts = torch.bincount(halves.sum(1), minlength=6) / 5000  # how many layers come from the second code
    assert starts.tolist() == pytest.approx([0.25] + [0.75 / 5] * 5, abs=0.02)


def test_two_codes_that_are_one_are_mixed_to_themselves() -> None:
    mixing, codes = generator(mixing=1.0), torch.randn(3, 6, **DOUBLE)
    plain = generator(mixing=0.0)
    plain.load_state_dict(mixing.state_dict())
    torch.testing.assert_close(mixing(torch.cat([codes, codes])), plain(codes), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(mixing(torch.cat([codes, -codes])), plain(codes))


def test_the_door_gives_each_image_a_second_code_under_its_own_label_only_in_training() -> None:
    labels = torch.tensor([0, 2, 1])
    given = latents(torch.randn(3, 6, **DOUBLE), labels)
    both = with_partners(given)
    assert both.labels.tolist() == [0, 2, 1] * 2
    assert torch.equal(both.codes, torch.cat([given.codes, given.codes[[2, 0, 1]]]))
    wrapped = ConcatGenerator().wrap(lambda width: generator(latent_dim=width, mixing=1.0), 6, 3).double()
    game = Game(wrapped, nn.Identity(), Wasserstein())
    assert takes_pairs(wrapped)
    made = game.generate(given)
    assert made.images.shape == (3, 3, 16, 16)
    assert made.labels.tolist() == labels.tolist()
    assert game.passes.generator == 3
    wrapped.eval()
    assert not takes_pairs(wrapped)
    alone = game.generate(given.rows(slice(1, 2))).images
    torch.testing.assert_close(alone, game.generate(given).images[1:2], rtol=1e-12, atol=1e-12)


def test_what_is_scored_never_mixes(experiment: Callable[..., Experiment]) -> None:
    tiny = experiment(*TINY, "model=stylegan2", "model.generator.mixing=1.0", "latent_dim=4", "steps=2")
    list(train(tiny))
    assert takes_pairs(tiny.game.generator)
    codes = latents(torch.randn(4, 4))
    with tiny.gan.at_rest() as game:
        assert not takes_pairs(game.generator)
        images = game.generate(codes).images
        assert torch.equal(images, game.generate(codes).images)
        torch.testing.assert_close(images[:1], game.generate(codes.rows(slice(1))).images, rtol=1e-5, atol=1e-5)
    assert not tiny.game.joins


def test_r1_has_the_gradient_of_its_differences() -> None:
    torch.manual_seed(0)
    judge = discriminator(image_shape=(1, 8, 8), width=3)
    game, shown = Game(nn.Identity(), judge, Wasserstein()), a_turn(*torch.randn(2, 4, 1, 8, 8, **DOUBLE))
    r1 = R1(weight=1.0, every=1)
    parameters = [judge.features[0].weight, judge.logits.weight, judge.features[2].skip[1].weight]  # type: ignore[index, union-attr]
    slopes = torch.autograd.grad(r1.penalty(game, shown), parameters)  # type: ignore[arg-type]
    for parameter, slope in zip(parameters, slopes, strict=True):
        assert isinstance(parameter, Tensor)
        step = torch.randn_like(parameter)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * step
            values.append(r1.penalty(game, shown).item())
            with torch.no_grad():
                parameter -= sign * 1e-5 * step
        assert (slope * step).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_the_class_changes_the_image_and_the_logit() -> None:
    make = EmbeddedCodes(dim=3).wrap(lambda width: generator(latent_dim=width), 6, 4).double().eval()
    images = make(torch.randn(1, 6, **DOUBLE).expand(2, -1), torch.tensor([0, 1]))
    assert not torch.allclose(images[0], images[1])
    judge = InnerProduct(dim=5).wrap(
        lambda shape, outcomes: discriminator(image_shape=shape, num_outcomes=outcomes), (3, 16, 16), 1, 4
    )
    logits = judge.double()(images[:1].expand(2, -1, -1, -1), torch.tensor([2, 3]))
    assert not torch.allclose(logits[0], logits[1])
