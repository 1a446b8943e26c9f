"""The door to the two networks: what augmentation, labels, precision and counts do there."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.augmentations import Augmentation, DiffAugment, Flip
from gan_cli.engine import Engine, Precision
from gan_cli.game import Game, Passes, Turn
from gan_cli.latent_samplers import AdvLatDiv, AdvLatQua, Gaussian
from gan_cli.objectives import Hinge, Relativistic, StdGAN, Wasserstein
from gan_cli.regularizers import (
    R1,
    R2,
    VAT,
    AdversarialTraining,
    Dragan,
    GradientPenalty,
    Regularizer,
)
from gan_cli.shapes import Examples, Images

from .augmentations.test_ada import ada
from .values import a_turn, examples, latents

SHAPE = (5, 2, 3, 3)


@dataclass(frozen=True, kw_only=True)
class Brightness(Augmentation):
    """gain * image + offset."""

    gain: float
    offset: float

    def __call__(self, images: Images) -> Images:
        return self.gain * images + self.offset


@dataclass(frozen=True, kw_only=True)
class RandomBrightness(Augmentation):
    """Each image times one number and plus another, both drawn for it alone."""

    def __call__(self, images: Images) -> Images:
        gain, offset = torch.rand(2, len(images), 1, 1, 1, dtype=images.dtype)
        return (1 + gain) * images + offset


BRIGHT = Brightness(gain=1.5, offset=0.2)


def critic() -> Any:
    """D(x) = a . x + b, whose slope is `a` everywhere."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 1)).double()


def curved_critic() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def slope_of(discriminator: Any) -> Tensor:
    slope: Tensor = discriminator[1].weight.detach()
    return slope


def turn() -> Turn:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.rand(SHAPE, dtype=torch.float64, generator=generator) * 1.8 - 0.9 for _ in range(2))
    return a_turn(real, fake)


def vat(**changes: Any) -> VAT:
    settings = {"weight": 1.0, "epsilon": 0.3, "xi": 0.1, "num_power_iterations": 1, "images": "both"}
    return VAT(**(settings | changes))


def attack(images: Any) -> AdversarialTraining:
    return AdversarialTraining(weight=1.0, epsilon=0.05, step_size=0.02, steps=3, norm="sign", images=images)


PENALTIES: list[Regularizer] = [
    R1(weight=1.0),
    R2(weight=1.0),
    GradientPenalty(weight=1.0, target=1.0, one_sided=False),
    Dragan(weight=1.0, target=1.0, scale=0.5, noise="normal"),
    vat(),
    attack("both"),
]
each_penalty = pytest.mark.parametrize("regularizer", PENALTIES, ids=lambda r: type(r).__name__)


# Augmentation


def test_the_discriminator_sees_what_the_augmentation_shows() -> None:
    discriminator, shown = curved_critic(), turn().real
    objective = StdGAN(saturating=False)
    game = Game(nn.Identity(), discriminator, objective, BRIGHT)
    logits = discriminator(1.5 * shown.images + 0.2)
    assert not torch.allclose(logits, discriminator(shown.images))
    torch.testing.assert_close(game.judge(shown), logits)
    torch.testing.assert_close(game.score(shown), objective.score(logits))
    fake = turn().fake
    expected = objective.discriminator_loss(logits, discriminator(1.5 * fake.images + 0.2))
    torch.testing.assert_close(game.discriminator_loss(shown, fake), expected)


def test_the_generators_loss_and_its_gradient_pass_through_the_augmentation() -> None:
    """G(z) = z as an image, D(x) = a . x + b: the loss -mean D(gain z + offset) has the gradient -gain a / batch."""
    discriminator = critic()
    game = Game(nn.Unflatten(1, SHAPE[1:]), discriminator, Wasserstein(), BRIGHT)
    codes = torch.randn(5, 18, dtype=torch.float64).requires_grad_(True)
    loss = game.generator_loss_against(None)(latents(codes))
    torch.testing.assert_close(loss, -discriminator[1](1.5 * codes + 0.2).mean())
    loss.backward()
    torch.testing.assert_close(codes.grad, (-1.5 * slope_of(discriminator) / 5).expand(5, 18))


def test_real_images_that_the_generators_loss_reads_are_augmented_too() -> None:
    discriminator, seen, objective = curved_critic(), turn(), Relativistic(pairing="average", loss="standard")
    game = Game(nn.Unflatten(1, SHAPE[1:]), discriminator, objective, BRIGHT)
    outputs = game.real_outputs(seen.real)
    assert outputs is not None
    logits = outputs.logits
    assert not logits.requires_grad
    torch.testing.assert_close(logits, discriminator(1.5 * seen.real.images + 0.2).detach())
    loss = game.generator_loss_against(seen.real)(latents(seen.fake.images.flatten(1)))
    torch.testing.assert_close(loss, objective.generator_loss(logits, discriminator(1.5 * seen.fake.images + 0.2)))


def test_penalties_of_a_linear_critic_grow_with_the_gain() -> None:
    """The slope in the images is gain * a: R1 and VAT are quadratic in the gain, the attack is linear."""
    discriminator, seen = critic(), turn()
    slope = slope_of(discriminator)
    game = Game(nn.Identity(), discriminator, Wasserstein(), BRIGHT)
    squared = slope.square().sum().item()
    assert R1(weight=1.0).penalty(game, seen).item() == pytest.approx(1.5**2 * squared / 2)
    assert vat().penalty(game, seen).item() == pytest.approx(0.3**2 * 1.5**2 * squared / 2)
    pulled = GradientPenalty(weight=1.0, target=1.0, one_sided=False).penalty(game, seen)
    assert pulled.item() == pytest.approx((1.5 * squared**0.5 - 1) ** 2)
    clean = game.discriminator_loss(seen.real, seen.fake)
    for images, sides in (("real", 1), ("fake", 1), ("both", 2)):
        raised = attack(images).penalty(game, seen) - clean
        assert raised.item() == pytest.approx(sides * 0.05 * 1.5 * slope.abs().sum().item())


def test_r1_of_a_quadratic_critic_is_taken_where_the_augmentation_puts_the_image() -> None:
    """D(x) = |x|^2 / 2 of x = gain y + offset: the slope in y is gain x."""

    class Quadratic(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.square().flatten(1).sum(1, keepdim=True) / 2

    seen = turn()
    game = Game(nn.Identity(), Quadratic(), Wasserstein(), BRIGHT)
    expected = (1.5 * (1.5 * seen.real.images + 0.2)).square().flatten(1).sum(1).mean() / 2
    torch.testing.assert_close(R1(weight=1.0).penalty(game, seen), expected)


class Composed(nn.Module):
    """The augmentation as the first layer of the network."""

    def __init__(self, augmentation: Augmentation, network: nn.Module) -> None:
        super().__init__()
        self.augmentation, self.network = augmentation, network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.augmentation(images))
        return logits


AUGMENTATIONS = [
    pytest.param(augmentation, id=type(augmentation).__name__, marks=() if quick else pytest.mark.slow)
    for augmentation, quick in (
        (BRIGHT, True),
        (RandomBrightness(), True),
        (Flip(), False),
        (DiffAugment(policy=["color", "translation", "cutout"]), False),
        (ada(p=0.8), False),
    )
]


@each_penalty
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_penalty_differentiates_through_the_augmentation(
    regularizer: Regularizer, augmentation: Augmentation
) -> None:
    """Value and gradient are those of the composed network, draws included."""
    values, gradients = [], []
    for augmented in (True, False):
        network = curved_critic()
        game = (
            Game(nn.Identity(), network, Hinge(), augmentation)
            if augmented
            else Game(nn.Identity(), Composed(augmentation, network), Hinge())
        )
        torch.manual_seed(2)
        value = regularizer.penalty(game, turn())
        gradients.append(torch.autograd.grad(value, list(network.parameters()), allow_unused=True))
        values.append(value)
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    torch.manual_seed(2)
    plain = regularizer.penalty(Game(nn.Identity(), curved_critic(), Hinge()), turn())
    assert abs(plain.item() - values[0].item()) > 1e-6  # so that the augmentation is seen at all


def test_vat_compares_passes_under_the_same_augmentation() -> None:
    """A bright and a dark pass would differ by far more than a step of length 1e-3 moves a linear critic."""

    class Offset(Augmentation):
        def __call__(self, images: Images) -> Images:
            return images + torch.rand(len(images), 1, 1, 1, dtype=images.dtype)

    discriminator = critic()
    game = Game(nn.Identity(), discriminator, Wasserstein(), Offset())
    expected = 1e-6 * slope_of(discriminator).square().sum().item() / 2
    assert vat(epsilon=1e-3, xi=1e-3).penalty(game, turn()).item() == pytest.approx(expected, rel=1e-6)


def test_generated_images_leave_the_door_as_they_are() -> None:
    game = Game(nn.Unflatten(1, SHAPE[1:]), critic(), Wasserstein(), BRIGHT)
    codes = torch.randn(5, 18, dtype=torch.float64)
    assert torch.equal(game.generate(latents(codes)).images.flatten(1), codes)


# Labels


def test_generated_images_carry_the_labels_that_were_asked_for() -> None:
    game = Game(nn.Unflatten(1, SHAPE[1:]), critic(), Wasserstein())
    labels = torch.tensor([3, 1, 4, 1, 5])
    made = game.generate(latents(torch.randn(5, 18, dtype=torch.float64), labels))
    assert isinstance(made, Examples)
    assert made.labels is labels


# Passes


def counting(objective: Any) -> Game:
    return Game(nn.Unflatten(1, SHAPE[1:]), critic().float(), objective)


def test_passes_are_counted_in_images() -> None:
    game, codes = counting(Wasserstein()), torch.randn(5, 18)
    made = game.generate(latents(codes))
    assert game.passes == Passes(generator=5, discriminator=0, gradient=0)
    game.judge(made)
    game.score(made.rows(slice(2)))
    assert game.passes == Passes(generator=5, discriminator=7, gradient=0)
    watched = codes.requires_grad_(True)
    game.generate(latents(watched).rows(slice(3)))
    assert game.passes == Passes(generator=8, discriminator=7, gradient=3)
    with torch.no_grad():
        game.generate(latents(watched))
    assert game.passes == Passes(generator=13, discriminator=7, gradient=3)


@pytest.mark.parametrize(("reads_real", "once"), [(False, 0), (True, 6)])
def test_a_search_counts_every_step(reads_real: bool, once: int) -> None:
    game = counting(Relativistic(pairing="average", loss="standard") if reads_real else StdGAN(saturating=False))
    real, prior = examples(torch.zeros(6, *SHAPE[1:])), Gaussian(latent_dim=18)
    AdvLatQua(prior=prior, steps=4, step_size=0.1, radius=None).for_discriminator(game, real)
    assert game.passes == Passes(generator=4 * 6, discriminator=4 * 6 + once, gradient=4 * 6)


def test_a_search_for_close_pairs_looks_once_at_the_first_and_each_step_at_the_second() -> None:
    game, prior = counting(StdGAN(saturating=False)), Gaussian(latent_dim=18)
    div = AdvLatDiv(prior=prior, steps=3, step_size=0.1, radius=None, start_std=0.1, offset=1.0)
    div.for_generator(game, examples(torch.zeros(7, *SHAPE[1:])))
    assert game.passes == Passes(generator=3 + 3 * 3, discriminator=0, gradient=3 * 3)


@pytest.mark.parametrize(("regularizer", "passes"), list(zip(PENALTIES, [5, 5, 5, 5, 3 * 10, 7 * 10], strict=True)))
def test_penalties_count_what_they_show(regularizer: Regularizer, passes: int) -> None:
    """VAT: a clean pass, an iteration and the penalty; three steps on each side, then the loss, show both sides."""
    game = Game(nn.Identity(), curved_critic(), Wasserstein())
    regularizer.penalty(game, turn())
    assert game.passes == Passes(generator=0, discriminator=passes, gradient=0)


# Precision

PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def convolutional() -> tuple[Any, Any]:
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(8, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh()
    )
    discriminator = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 2))
    return generator, discriminator


def test_half_precision_computes_inside_and_returns_single_precision() -> None:
    generator, discriminator = convolutional()
    inside: list[torch.dtype] = []
    for network in (generator, discriminator):
        network.register_forward_hook(lambda module, inputs, output: inside.append(output.dtype))
    codes = latents(torch.randn(16, 8))
    results = {}
    for precision in PRECISIONS:
        game = Game(generator, discriminator, Wasserstein(), engine=Engine(precision=precision))
        made = game.generate(codes)
        results[precision] = made.images, game.judge(made)
        assert inside == [getattr(torch, precision)] * 2
        inside.clear()
    for single, half in zip(*results.values(), strict=True):
        assert single.dtype == half.dtype == torch.float32
        assert single.shape == half.shape
        difference = (half - single).abs().max().item()
        assert 0 < difference < 0.02 * single.abs().max().item()  # eight bits of a number are kept


def test_losses_and_weights_gradients_are_in_single_precision() -> None:
    """Those of half precision lie along those of single precision, also through a penalty that differentiates twice."""
    codes, real = latents(torch.randn(16, 8)), examples(torch.rand(16, 3, 8, 8) * 2 - 1)
    seen: dict[str, Tensor] = {}
    for precision in PRECISIONS:
        generator, discriminator = convolutional()
        discriminator[3] = nn.Linear(128, 1)
        torch.manual_seed(1)
        nn.init.normal_(discriminator[3].weight, std=0.1)
        nn.init.zeros_(discriminator[3].bias)
        game = Game(generator, discriminator, StdGAN(saturating=False), engine=Engine(precision=precision))
        fake = game.generate(codes)
        loss = game.discriminator_loss(real, fake) + R1(weight=1.0).penalty(
            game, Turn(real, codes, fake, None, game.outputs(fake), real)
        )
        assert loss.dtype == torch.float32
        gradients = torch.autograd.grad(loss, [*generator.parameters(), *discriminator.parameters()])
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        seen[precision] = torch.cat([gradient.flatten() for gradient in gradients])
    single, half = seen.values()
    assert torch.cosine_similarity(single, half, dim=0) > 0.999
    assert not torch.equal(single, half)


def test_single_precision_leaves_what_a_network_returns_alone() -> None:
    game = Game(nn.Unflatten(1, SHAPE[1:]), critic(), Wasserstein())
    made = game.generate(latents(torch.randn(5, 18, dtype=torch.float64)))
    assert made.images.dtype == game.judge(made).dtype == torch.float64  # formulas are tested in double precision
