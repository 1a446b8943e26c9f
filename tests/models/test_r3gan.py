"""R3GAN's networks against what the paper prints of them, and against the definitions of their parts."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from gan_cli.conditioning.embedding import EmbeddedCodes, InnerProduct
from gan_cli.models.r3gan import Block, Discriminator, Generator, stage_channels
from gan_cli.models.resampling import Resample

# size, classes, width, full_width_until, group_width; parameters of the generator and the discriminator
PRESETS = {
    "stacked_mnist": (32, 0, 768, 32, 16, 20_732_160, 20_683_776),
    "cifar10": (32, 10, 768, 32, 16, 20_781_952, 21_280_512),
    "ffhq64": (64, 0, 768, 32, 16, 22_429_824, 22_381_440),
    "ffhq256": (256, 0, 768, 32, 16, 23_057_952, 23_009_568),
    "imagenet32": (32, 1000, 1536, 32, 32, 82_914_304, 86_548_992),
    "imagenet64": (64, 1000, 1536, 64, 32, 103_570_432, 107_205_120),
}


def generator(**changes: object) -> Generator:
    settings = {"width": 8, "full_width_until": 16, "group_width": 4, "latent_dim": 6, "image_shape": (3, 32, 32)}
    return Generator(**settings | changes)  # type: ignore[arg-type]


def discriminator(**changes: object) -> Discriminator:
    settings = {"width": 8, "full_width_until": 16, "group_width": 4, "image_shape": (3, 32, 32), "num_outcomes": 1}
    return Discriminator(**settings | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_papers_numbers_of_parameters(name: str) -> None:
    size, classes, width, until, group, *expected = PRESETS[name]
    stages = {"width": width, "full_width_until": until, "group_width": group}

    def judge(shape: tuple[int, int, int], num_outcomes: int) -> nn.Module:
        return discriminator(**stages, image_shape=shape, num_outcomes=num_outcomes)

    def make(latent_dim: int) -> nn.Module:
        return generator(**stages, image_shape=(3, size, size), latent_dim=latent_dim)

    with torch.device("meta"):
        if classes:
            networks = [
                EmbeddedCodes(dim=64).wrap(make, 64, classes),
                InnerProduct(dim=width).wrap(judge, (3, size, size), 1, classes),
            ]
        else:
            networks = [make(64), judge((3, size, size), 1)]
    assert [sum(weights.numel() for weights in network.parameters()) for network in networks] == expected


def test_channels_halve_beyond_the_last_full_resolution() -> None:
    assert stage_channels(256, 768, 32, 16) == [768, 768, 768, 768, 384, 192, 96]
    assert stage_channels(8, 4, 32, 16) == [4, 4]
    for size, width in ((64, 20), (64, 9)):
        with pytest.raises(ValueError, match="make it a multiple of (8|16)"):
            stage_channels(size, width, 32, 16)


def test_every_block_is_the_identity_at_the_start_and_not_afterwards() -> None:
    block, features = Block(8, 4, 6), torch.randn(2, 8, 5, 5)
    assert torch.equal(block(features), features)
    nn.init.normal_(block.residual[-1].weight)
    assert not torch.allclose(block(features), features)
    found = [part for part in [*generator().modules(), *discriminator().modules()] if isinstance(part, Block)]
    assert len(found) == 2 * 2 * 4
    assert all(not part.residual[-1].weight.any() for part in found)


def test_first_layers_of_a_block_have_the_gain_of_fix_up() -> None:
    """Of L blocks: sqrt(2 / 1.04) L^(-1/4) / sqrt(fan in); 0.595 for the eight of 32 pixels."""
    torch.manual_seed(0)
    first, _, grouped, _, last = Block(256, 16, 8).residual
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    assert gain == pytest.approx(0.595 * math.sqrt(2 / 1.04), abs=1e-3)
    assert first.weight.std().item() == pytest.approx(gain / math.sqrt(256), rel=0.02)
    assert grouped.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.02)
    assert not first.bias.any()
    assert not grouped.bias.any()
    assert last.bias is None
    assert grouped.groups == 2 * 256 // 16


def test_resampling_keeps_a_constant_inside_and_shrinking_is_the_adjoint_of_growing() -> None:
    grow, shrink = Resample(grow=True).double(), Resample(grow=False).double()
    constant = torch.full((1, 2, 8, 8), 3.0, dtype=torch.float64)
    for resample in (grow, shrink):
        inside = resample(constant)[..., 1:-1, 1:-1]
        assert torch.allclose(inside, torch.full_like(inside, 3.0), rtol=1e-12)
    assert grow(constant).shape[-1] == 16
    assert shrink(constant).shape[-1] == 4
    small, large = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 8, 8).double()
    torch.testing.assert_close((grow(small) * large).sum(), 4 * (small * shrink(large)).sum(), rtol=1e-12, atol=1e-12)


def test_shrinking_is_a_convolution_with_the_binomial_filter() -> None:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    filtered = torch.randn(1, 1, 6, 6).double()
    expected = conv2d(filtered, (torch.outer(line, line) / 64)[None, None], stride=2, padding=1)
    torch.testing.assert_close(Resample(grow=False).double()(filtered), expected, rtol=1e-12, atol=1e-12)


def test_images_and_logits_have_their_shapes_and_no_layer_mixes_images() -> None:
    made = generator()(torch.randn(5, 6))
    assert made.shape == (5, 3, 32, 32)
    network = discriminator(num_outcomes=7)
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    logits = network(images)
    assert logits.shape == (4, 7)
    (slope,) = torch.autograd.grad(logits[0].sum(), images)
    assert slope[0].any()
    assert not slope[1:].any()


def test_the_class_changes_the_image_and_the_logit() -> None:
    torch.manual_seed(0)
    make = EmbeddedCodes(dim=3).wrap(lambda latent_dim: generator(latent_dim=latent_dim), 6, 4)
    codes = torch.randn(1, 6).expand(2, -1)
    images = make(codes, torch.tensor([0, 1]))
    assert not torch.allclose(images[0], images[1])
    judge = InnerProduct(dim=5).wrap(
        lambda shape, outcomes: discriminator(image_shape=shape, num_outcomes=outcomes), (3, 32, 32), 2, 4
    )
    shown = images[:1].expand(2, -1, -1, -1)
    logits = judge(shown, torch.tensor([2, 3]))
    assert logits.shape == (2, 2)
    rows = judge.embedding.weight.unflatten(1, (2, 5))
    features = judge.network(shown)
    torch.testing.assert_close(logits[0], rows[2] @ features[0])
    torch.testing.assert_close(logits[1], rows[3] @ features[1])


@pytest.mark.parametrize(("shape", "said"), [((3, 28, 28), "set dataset.image_size=32"), ((2, 1, 1), "use model=mlp")])
def test_images_of_another_size_are_refused(shape: tuple[int, int, int], said: str) -> None:
    for build in (generator, discriminator):
        with pytest.raises(ValueError, match=said):
            build(image_shape=shape)
