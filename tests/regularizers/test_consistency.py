"""Consistency under transformations of images and of codes, against values computed by hand, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gan_cli.game import Game, Turn
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import Consistency, ZCRDiscriminator, ZCRGenerator
from gan_cli.regularizers.consistency import transformed
from gan_cli.shapes import Examples, Latents, unlabelled


def test_transformations_are_mirrored_and_moved_reflections() -> None:
    torch.manual_seed(0)
    images = torch.randn(600, 2, 4, 5, dtype=torch.float64)
    made = transformed(images, flip=True, shift=0.26)  # one pixel either way
    every = {}
    for mirrored, base in ((False, images), (True, images.flip(3))):
        padded = pad(base, (1, 1, 1, 1), mode="reflect")
        for down in range(3):
            for right in range(3):
                every[mirrored, down, right] = padded[:, :, down : down + 4, right : right + 5]
    which = torch.stack([(made == other).flatten(1).all(1) for other in every.values()])
    assert (which.sum(0) == 1).all()  # each image is exactly one of them
    shares = which.double().mean(1)
    assert (shares - 1 / 18).abs().max() < 0.03  # with equal chances
    assert torch.equal(transformed(images, flip=False, shift=0.19), images)  # less than a pixel


def test_a_point_is_left_where_it_is() -> None:
    points = torch.randn(5, 2, 1, 1)
    assert torch.equal(transformed(points, flip=True, shift=0.125), points)


class Total(nn.Module):
    """An image's score is the sum of its pixels, each with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.arange(4, dtype=torch.float64).view(1, 2, 2))

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weights).flatten(1).sum(1, keepdim=True)


class Linear(nn.Module):
    """Codes of two numbers times a gain, as an image of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([1.0, 3.0], dtype=torch.float64))

    def forward(self, codes: Tensor) -> Tensor:
        return (self.gain * codes)[:, None, None, :]


def turn(game: Game, real: Tensor, fake: Tensor, codes: Tensor | None = None) -> Turn:
    shown, made = (Examples(images, unlabelled(len(images))) for images in (real, fake))
    latents = Latents(torch.zeros(len(fake), 1) if codes is None else codes, made.labels)
    return Turn(shown, latents, made, game.outputs(shown), game.outputs(made), shown)


def mirrored_change(images: Tensor) -> Tensor:
    """The score less that of the mirrored image: weights 0 1 / 2 3 less 1 0 / 3 2."""
    return (images[:, 0, :, 1] - images[:, 0, :, 0]).sum(1)


@pytest.mark.parametrize("images", ["real", "fake", "both"])
def test_the_mirrored_half_costs_its_squared_change(images: str) -> None:
    torch.manual_seed(0)
    game, few = Game(nn.Identity(), Total(), Wasserstein()), torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)
    seen = turn(game, *few.repeat(1, 4000, 1, 1, 1))
    found = Consistency(weight=1.0, images=images, flip=True, shift=0.0).penalty(game, seen)  # type: ignore[arg-type]
    real, fake = (mirrored_change(side).square().mean().item() / 2 for side in few)
    assert found.item() == pytest.approx({"real": real, "fake": fake, "both": real + fake}[images], rel=0.04)


def test_consistency_pulls_both_scores_and_no_image() -> None:
    """d/dw of (w . (x - T x))^2 is 2 (w . (x - T x)) (x - T x): with the gradient of both passes."""
    game = Game(nn.Identity(), Total(), Wasserstein())
    made = torch.randn(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    seen = turn(game, made.detach(), made.detach())
    penalty, found = Consistency(weight=1.0, images="fake", flip=True, shift=0.0), set()
    change = made.detach() - made.detach().flip(3)
    for seed in range(20):
        torch.manual_seed(seed)
        (gradient,) = torch.autograd.grad(penalty.penalty(game, seen), [game.discriminator.weights], retain_graph=True)  # type: ignore[list-item]
        found.add(bool(gradient.abs().sum() > 0))
        if gradient.abs().sum() > 0:
            torch.testing.assert_close(gradient, 2 * mirrored_change(made.detach()) * change[0])
    assert found == {True, False}


def test_zcr_of_linear_players_is_its_closed_form() -> None:
    """Images move by gain * d, scores by weights . gain * d, d ~ N(0, noise^2)."""
    torch.manual_seed(0)
    count, noise = 100_000, 0.05
    codes = torch.randn(count, 2, dtype=torch.float64)

    class Plain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) @ torch.tensor([[2.0], [1.0]], dtype=torch.float64)

    game = Game(Linear(), Plain(), Wasserstein())
    made = game.generate(Latents(codes, unlabelled(count))).images
    seen = turn(game, made.detach(), made, codes)
    of_discriminator = ZCRDiscriminator(weight=1.0, noise=noise).penalty(game, seen)
    assert of_discriminator.item() == pytest.approx(noise**2 * (2**2 + 3**2), rel=0.02)
    of_generator = ZCRGenerator(weight=1.0, noise=noise).penalty(game, seen)
    assert of_generator.item() == pytest.approx(-(noise**2) * (1 + 9) / 2, rel=0.02)
    (gradient,) = torch.autograd.grad(of_generator, [game.generator.gain])  # type: ignore[list-item]
    torch.testing.assert_close(gradient, -(noise**2) * torch.tensor([1.0, 3.0]).double(), rtol=0.02, atol=0)


def test_zcr_of_the_discriminator_has_no_gradient_of_the_generator() -> None:
    game = Game(Linear(), nn.Sequential(nn.Flatten(), nn.Linear(2, 1).double()), Wasserstein())
    codes = torch.randn(4, 2, dtype=torch.float64)
    made = game.generate(Latents(codes, unlabelled(4))).images.detach()
    ZCRDiscriminator(weight=1.0, noise=0.05).penalty(game, turn(game, made, made, codes)).backward()
    assert all(parameter.grad is None for parameter in game.generator.parameters())
    assert any(parameter.grad is not None for parameter in game.discriminator.parameters())
