"""Regularizers of classifiers against their closed forms, in float64; feature matching of equal and shifted batches."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from gan_cli.config.build import build
from gan_cli.config.read import config_of
from gan_cli.game import Game, Turn
from gan_cli.models.no_generator import NoGenerator
from gan_cli.objectives import Classification, StdGAN
from gan_cli.regularizers import VAT, EntropyMinimisation, FeatureMatching
from gan_cli.shapes import Outputs

from ..conftest import A_CLASSIFIER
from ..values import a_turn, examples, latents
from .test_regularizers import SHAPE, Linear, turn


class LinearSoftmax(nn.Module):
    """The logits W x of flattened images, [batch, classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(18, classes, bias=False, dtype=torch.float64)
        torch.nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


CLASSES = Classification(num_classes=4)


def classifying_turn(game: Game) -> Turn:
    """A turn without generated images, of which two real ones have a label."""
    real = examples(turn().real.images, torch.tensor([1, -1, 0, -1, -1]))
    outputs = game.outputs(real)
    return Turn(real, latents(torch.zeros(0, 1)), real.rows(slice(0)), outputs, Outputs(outputs.logits[:0]), real)


def fisher(network: LinearSoftmax, images: Tensor) -> Tensor:
    """W^T (diag p - p p^T) W, the curvature of the KL divergence at each image, [batch, pixels, pixels]."""
    p, weight = network(images).softmax(1).detach(), network.linear.weight.detach()
    return weight.T @ (p.diag_embed() - p[:, :, None] * p[:, None, :]) @ weight


@pytest.mark.parametrize("images", ["real", "both"])
def test_vat_of_a_linear_softmax_is_half_the_largest_eigenvalue(images: Literal["real", "both"]) -> None:
    """LDS = eps^2 / 2 times the largest eigenvalue of the Fisher form, to second order, for many power iterations.

    It covers every real image, labelled or not, also where there are no generated ones.
    """
    network, epsilon = LinearSoftmax(4), 1e-3
    game = Game(NoGenerator(latent_dim=1, image_shape=SHAPE[1:]), network, CLASSES)
    shown = classifying_turn(game)
    largest = torch.linalg.eigvalsh(fisher(network, shown.real.images))[:, -1]
    vat = VAT(weight=1.0, epsilon=epsilon, xi=1e-3, num_power_iterations=100, images=images)
    assert vat.penalty(game, shown).item() == pytest.approx(epsilon**2 / 2 * largest.mean().item(), rel=2e-3)
    random = replace(vat, num_power_iterations=0).penalty(game, shown).item()
    assert 0 < random < vat.penalty(game, shown).item()


def test_vat_of_two_classes_needs_one_power_iteration() -> None:
    """Of two classes the Fisher form has rank one: p (1 - p) |w_1 - w_0|^2, as for one logit."""
    network, epsilon = LinearSoftmax(2), 1e-3
    game = Game(NoGenerator(latent_dim=1, image_shape=SHAPE[1:]), network, Classification(num_classes=2))
    shown = classifying_turn(game)
    p = network(shown.real.images).softmax(1)[:, 0]
    squared = (network.linear.weight[1] - network.linear.weight[0]).square().sum()
    expected = (epsilon**2 / 2 * p * (1 - p) * squared).mean().item()
    vat = VAT(weight=1.0, epsilon=epsilon, xi=1e-3, num_power_iterations=1, images="real")
    assert vat.penalty(game, shown).item() == pytest.approx(expected, rel=2e-3)


class Fixed(nn.Module):
    """The same logits for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def test_entropy_is_largest_for_a_uniform_distribution_and_zero_for_a_sure_one() -> None:
    def entropy(logits: list[float]) -> float:
        game = Game(nn.Identity(), Fixed(torch.tensor(logits, dtype=torch.float64)), CLASSES)
        return EntropyMinimisation(weight=1.0).penalty(game, classifying_turn(game)).item()

    assert entropy([2.0] * 4) == pytest.approx(math.log(4))
    assert entropy([800.0, 0.0, 0.0, 0.0]) == 0
    p = [0.5, 0.25, 0.125, 0.125]
    assert entropy([math.log(value) for value in p]) == pytest.approx(1.75 * math.log(2))


def test_entropy_needs_classes() -> None:
    with pytest.raises(ValueError, match="no class logits: set objective=classification"):
        EntropyMinimisation(weight=1.0).check(Game(nn.Identity(), Linear(1.0), StdGAN(saturating=False)))
    EntropyMinimisation(weight=1.0).check(Game(nn.Identity(), LinearSoftmax(4), CLASSES))


class Features(nn.Module):
    """A linear layer on top of the means of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.mean((2, 3)))


def test_feature_matching_is_the_distance_of_mean_features() -> None:
    game = Game(nn.Identity(), Features(), StdGAN(saturating=False))
    real, fake = turn().real.images, turn().fake.images
    difference = fake.mean((0, 2, 3)) - real.mean((0, 2, 3))
    l1, l2 = FeatureMatching(weight=1.0, form="l1"), FeatureMatching(weight=1.0, form="l2")
    torch.testing.assert_close(l1.penalty(game, turn()), difference.abs().mean())
    torch.testing.assert_close(l2.penalty(game, turn()), difference.square().sum())
    for regularizer in (l1, l2):  # of equal batches, in another order
        assert regularizer.penalty(game, a_turn(real, real.flip(0))).abs() < 1e-15
    with pytest.raises(ValueError, match=r"no nn.Linear"):
        l1.check(Game(nn.Identity(), Linear(1.0), StdGAN(saturating=False)))


def test_feature_matching_moves_the_generated_images_alone() -> None:
    game = Game(nn.Identity(), Features(), StdGAN(saturating=False))
    real, fake = (images.clone().requires_grad_() for images in (turn().real.images, turn().fake.images))
    FeatureMatching(weight=1.0, form="l2").penalty(game, a_turn(real, fake)).backward()  # type: ignore[no-untyped-call]
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.abs().min() > 0


@pytest.mark.parametrize("name", ["r2", "gradient_penalty", "vat"])
def test_without_a_generator_nothing_is_asked_of_generated_images(name: str) -> None:
    node = config_of([*A_CLASSIFIER, f"regularizer={name}"])["regularizer"][name]
    regularizer = build(name, node | ({"images": "fake"} if "images" in node else {}))
    game = Game(NoGenerator(latent_dim=1, image_shape=SHAPE[1:]), LinearSoftmax(4), CLASSES)
    with pytest.raises(ValueError, match="reads generated images, and Classification has no generator"):
        regularizer.check(game)
