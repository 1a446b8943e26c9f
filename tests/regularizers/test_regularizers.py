"""Penalties of a linear critic, whose slope is known, in float64."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from gan_cli.game import Game, Turn
from gan_cli.gradients import input_gradient
from gan_cli.objectives import Hinge, Objective, Relativistic, StdGAN, Wasserstein
from gan_cli.regularizers import (
    R1,
    R2,
    VAT,
    AdversarialTraining,
    Dragan,
    GradientPenalty,
    ModeSeeking,
    Regularizer,
    WeightClipping,
)
from gan_cli.regularizers.mode_seeking import distance, halves
from gan_cli.schedule import Ramp
from gan_cli.shapes import Examples, Outputs

from ..conftest import realness
from ..values import a_turn, examples

REALNESS = realness(num_outcomes=4, generator_objective=3, anchors="expected")
SHAPE = (5, 2, 3, 3)


class Linear(nn.Module):
    """D(x) = a . x, whose slope is `a` at every image."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        direction = torch.randn(SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.direction = nn.Parameter(slope * direction / direction.norm())

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.direction).flatten(1).sum(1, keepdim=True)


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose slope is x itself."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(1, keepdim=True) / 2


def turn() -> Turn:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(SHAPE, dtype=torch.float64, generator=generator) for _ in range(2))
    return a_turn(real, fake)


def penalty(regularizer: Regularizer, discriminator: nn.Module) -> Tensor:
    return regularizer.penalty(Game(nn.Identity(), discriminator, Wasserstein()), turn())


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_penalties_of_a_linear_critic(slope: float) -> None:
    critic = Linear(slope)
    cases = {
        R1(weight=1.0): slope**2 / 2,
        GradientPenalty(weight=1.0, target=1.0, one_sided=False): (slope - 1) ** 2,
        GradientPenalty(weight=1.0, target=1.0, one_sided=True): max(slope - 1, 0) ** 2,
        GradientPenalty(weight=1.0, target=0.0, one_sided=False): slope**2,
    }
    for regularizer, expected in cases.items():
        assert penalty(regularizer, critic).item() == pytest.approx(expected, abs=3e-6), regularizer


def test_r1_is_taken_at_real_images_per_image() -> None:
    torch.testing.assert_close(
        penalty(R1(weight=1.0), Quadratic()), turn().real.images.square().flatten(1).sum(1).mean() / 2
    )


def test_gradient_penalty_is_taken_between_real_and_fake_per_image() -> None:
    torch.manual_seed(3)
    measured = penalty(GradientPenalty(weight=1.0, target=0.0, one_sided=False), Quadratic())
    torch.manual_seed(3)
    mixture = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    between = mixture * turn().real.images + (1 - mixture) * turn().fake.images
    torch.testing.assert_close(measured, between.square().flatten(1).sum(1).mean())


@pytest.mark.parametrize(
    "regularizer",
    [R1(weight=1.0), GradientPenalty(weight=1.0, target=1.0, one_sided=False)],
    ids=lambda r: type(r).__name__,
)
def test_penalties_can_be_minimised(regularizer: Regularizer) -> None:
    """The gradient with respect to a linear critic's weights: a for R1, 2 (|a| - 1) a / |a| for the penalty."""
    critic = Linear(3.0)
    penalty(regularizer, critic).backward()
    factor = 1.0 if isinstance(regularizer, R1) else 2 * (3.0 - 1.0) / 3.0
    torch.testing.assert_close(critic.direction.grad, factor * critic.direction.detach())


def test_gradient_penalty_has_a_finite_gradient_at_zero_slope() -> None:
    critic = Linear(0.0)
    penalty(GradientPenalty(weight=1.0, target=1.0, one_sided=False), critic).backward()
    assert critic.direction.grad is not None
    assert critic.direction.grad.isfinite().all()


def test_input_gradient_leaves_parameters_alone() -> None:
    critic = Linear(1.0)
    gradient = input_gradient(critic, turn().real.images, differentiable=False)
    torch.testing.assert_close(gradient, critic.direction.detach().expand(SHAPE))
    assert critic.direction.grad is None


def test_input_gradient_does_not_mark_its_input() -> None:
    images = torch.ones(2, 1)
    input_gradient(lambda values: values.square(), images, differentiable=True)
    assert not images.requires_grad


def test_r2_is_taken_at_generated_images_per_image() -> None:
    torch.testing.assert_close(
        penalty(R2(weight=1.0), Quadratic()), turn().fake.images.square().flatten(1).sum(1).mean() / 2
    )


def test_dragan_of_a_linear_critic_is_the_gradient_penalty() -> None:
    for slope in (0.0, 0.5, 3.0):
        for noise in ("normal", "uniform"):
            regularizer = Dragan(weight=1.0, target=1.0, scale=0.5, noise=noise)  # type: ignore[arg-type]
            assert penalty(regularizer, Linear(slope)).item() == pytest.approx((slope - 1) ** 2, abs=3e-6)


def test_dragan_looks_around_real_images() -> None:
    shown = examples(torch.randn(200, 2, 8, 8, dtype=torch.float64))
    real = shown.images
    normal, uniform = (Dragan(weight=1.0, target=1.0, scale=0.5, noise=n) for n in ("normal", "uniform"))
    noise = (normal.around(shown, real.std()).images - real) / real.std()
    assert noise.mean().item() == pytest.approx(0.0, abs=0.02)
    assert noise.std().item() == pytest.approx(0.5, abs=0.02)
    noise = (uniform.around(shown, real.std()).images - real) / real.std()
    assert noise.min() >= 0  # the authors' noise only brightens
    assert noise.mean().item() == pytest.approx(0.5 / 4, abs=0.02)  # U(0, 1) twice, each with mean 1/2
    assert noise.flatten(1).mean(1).std().item() == pytest.approx(0.25 / 12**0.5, abs=0.02)  # one factor an image
    still = Dragan(weight=1.0, target=1.0, scale=0.0, noise="normal").around(shown, real.std())
    torch.testing.assert_close(still.images, real)


def pair_turn(latents: Tensor, images: Tensor) -> Turn:
    return a_turn(images, images, latents)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_mode_seeking_of_a_linear_generator_is_its_gain(gain: float) -> None:
    latents = torch.randn(8, 12, dtype=torch.float64)
    seen = pair_turn(latents, (gain * latents).unflatten(1, (3, 2, 2)))
    game = Game(nn.Identity(), nn.Identity(), Wasserstein())
    inverse = ModeSeeking(weight=1.0, form="inverse").penalty(game, seen)
    difference = ModeSeeking(weight=1.0, form="difference").penalty(game, seen)
    assert inverse.item() == pytest.approx(1 / (gain + 1e-5), rel=1e-12)
    assert difference.item() == pytest.approx(-gain, rel=1e-12)


def test_mode_seeking_takes_the_ratio_of_mean_distances_of_pairs_half_a_batch_apart() -> None:
    latents = torch.tensor([[0.0], [0.0], [1.0], [3.0], [99.0]]).double()  # the odd last row has no partner
    images = torch.tensor([0.0, 0.0, 4.0, 2.0, 99.0]).double()[:, None, None, None]
    value = ModeSeeking(weight=1.0, form="difference").penalty(
        Game(nn.Identity(), nn.Identity(), Wasserstein()), pair_turn(latents, images)
    )
    assert value.item() == pytest.approx(-(4 + 2) / (1 + 3))


def test_mean_distance_of_independent_normal_latents() -> None:
    """E|z2 - z1| = 2 / sqrt(pi)."""
    latents = torch.randn(4000, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert distance(*halves(latents)).mean().item() == pytest.approx(2 / torch.pi**0.5, rel=0.01)


def test_identical_latents_do_not_divide_by_zero() -> None:
    zeros = torch.zeros(4, 2, dtype=torch.float64)
    game = Game(nn.Identity(), nn.Identity(), Wasserstein())
    value = ModeSeeking(weight=1.0, form="inverse").penalty(game, pair_turn(zeros, zeros[:, :, None, None]))
    assert value.item() == pytest.approx(1e5)


def vat(**changes: Any) -> VAT:
    settings = {"weight": 1.0, "epsilon": 0.3, "xi": 0.1, "num_power_iterations": 1, "images": "both"}
    return VAT(**(settings | changes))


@pytest.mark.parametrize("images", ["real", "fake", "both"])
@pytest.mark.parametrize("slope", [0.0, 0.5, 3.0])
def test_vat_of_a_linear_critic_is_half_the_squared_step_along_its_slope(images: str, slope: float) -> None:
    """Critics: 1/2 (v - v')^2 = 1/2 epsilon^2 |a|^2, exactly, after one power iteration: R1 with gamma = epsilon^2."""
    measured = penalty(vat(images=images), Linear(slope))
    assert measured.item() == pytest.approx(0.3**2 * slope**2 / 2, rel=1e-9, abs=1e-15)
    if images == "real":
        torch.testing.assert_close(measured, 0.3**2 * penalty(R1(weight=1.0), Linear(slope)))


def test_vat_of_a_probability_has_its_rank_one_form() -> None:
    """Bernoulli: KL at +-epsilon |a|, and 1/2 epsilon^2 sigma (1 - sigma) |a|^2 for a small epsilon."""
    critic, small = Linear(2.0), 1e-3
    game = Game(nn.Identity(), critic, StdGAN(saturating=False))
    for epsilon in (0.3, small):
        measured = vat(epsilon=epsilon, images="real").penalty(game, turn())
        logits = critic(turn().real.images).detach()
        sides = [StdGAN(saturating=False).disagreement(logits, logits + s * epsilon * 2.0) for s in (-1, 1)]
        lowest, highest = torch.minimum(*sides).mean(), torch.maximum(*sides).mean()
        assert lowest - 1e-12 <= measured <= highest + 1e-12
    probability = logits.sigmoid()
    expected = small**2 * (probability * (1 - probability)).mean() * 2.0**2 / 2
    torch.testing.assert_close(measured, expected, rtol=2e-3, atol=0)


def test_vat_of_outcomes_approaches_the_top_of_the_fisher_spectrum() -> None:
    """Categorical: 1/2 epsilon^2 times the largest eigenvalue of J' F J, with enough power iterations."""
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(18, 4)).double()
    game = Game(nn.Identity(), discriminator, REALNESS)
    measured = vat(epsilon=1e-3, xi=1e-4, num_power_iterations=60, images="real").penalty(game, turn())
    jacobian, tops = discriminator[1].weight.detach(), []
    for p in discriminator(turn().real.images).softmax(1).detach():
        fisher = p.diag() - p[:, None] * p[None, :]
        tops.append(torch.linalg.eigvalsh(jacobian.T @ fisher @ jacobian)[-1])
    torch.testing.assert_close(measured, 1e-6 / 2 * torch.stack(tops).mean(), rtol=5e-3, atol=0)


class Constant(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 0 * images.flatten(1).sum(1, keepdim=True) + 0.7


@pytest.mark.parametrize("objective", [Wasserstein(), StdGAN(saturating=False)], ids=str)
def test_vat_is_zero_for_a_constant_discriminator_and_never_negative(objective: Objective) -> None:
    assert vat().penalty(Game(nn.Identity(), Constant(), objective), turn()).item() == 0.0
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    for iterations in (0, 1, 3):
        value = vat(num_power_iterations=iterations).penalty(Game(nn.Identity(), network, objective), turn())
        assert value.item() > 0


def test_power_iterations_find_a_worse_direction() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    game, values = Game(nn.Identity(), network, Wasserstein()), []
    for iterations in (0, 1):
        torch.manual_seed(1)
        values.append(vat(num_power_iterations=iterations).penalty(game, turn()).item())
    assert values[1] > 2 * values[0]


def test_vat_compares_passes_with_the_same_noise() -> None:
    """A discriminator that adds its own noise at every pass, and ignores its images, disagrees with itself nowhere."""

    class Noisy(Constant):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + torch.randn(len(images), 1, dtype=torch.float64)

    assert vat().penalty(Game(nn.Identity(), Noisy(), Wasserstein()), turn()).item() == 0.0


def test_the_unperturbed_prediction_carries_no_gradient() -> None:
    """d/da of 1/2 (stop(v) - v')^2, v' = a . (x + epsilon u), u = +-a / |a| fixed: (v' - v) (x + epsilon u)."""
    critic = Linear(2.0)
    images = turn().real.images[:1]
    vat(images="real").penalty(Game(nn.Identity(), critic, Wasserstein()), a_turn(images, images)).backward()
    step = 0.3 * critic.direction.detach() / 2.0
    either = [sign * 0.3 * 2.0 * (images[0] + sign * step) for sign in (1, -1)]
    assert any(torch.allclose(critic.direction.grad, gradient) for gradient in either)


def test_vat_asks_how_far_the_perturbed_prediction_is_from_the_clean_one() -> None:
    """KL(clean || perturbed), which is not symmetric; without iterations the direction is the one drawn."""
    critic, objective = Linear(2.0), StdGAN(saturating=False)
    images, game = turn().real.images, Game(nn.Identity(), Linear(2.0), objective)
    torch.manual_seed(4)
    measured = vat(epsilon=2.0, num_power_iterations=0, images="real").penalty(game, turn())
    torch.manual_seed(4)
    offset = torch.randn_like(images)
    offset *= 2.0 / offset.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = objective.disagreement(critic(images), critic(images + offset)).mean()
    torch.testing.assert_close(measured, expected)


def test_vat_on_both_sides_is_their_mean() -> None:
    """Of a critic whose slope is the image itself: 1/2 (epsilon |x| + epsilon^2 / 2)^2 on either side."""
    values = {}
    for images in ("real", "fake", "both"):
        torch.manual_seed(0)
        values[images] = penalty(vat(epsilon=1e-4, xi=1e-4, images=images), Quadratic()).item()
    assert values["both"] == pytest.approx((values["real"] + values["fake"]) / 2, rel=1e-2)
    assert values["real"] != pytest.approx(values["fake"], rel=1e-2)


def attack(**changes: Any) -> AdversarialTraining:
    settings = {"weight": 1.0, "epsilon": 0.05, "step_size": 0.05, "steps": 1, "norm": "sign", "images": "both"}
    return AdversarialTraining(**(settings | changes))


def bounded_turn() -> Turn:
    seen = turn()
    return a_turn(seen.real.images.tanh() * 0.9, seen.fake.images.tanh() * 0.9)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("images", ["real", "fake", "both"])
def test_attacked_images_of_a_linear_critic_cost_the_length_of_its_slope(steps: int, images: str) -> None:
    """Wasserstein: each attacked side raises the loss by epsilon |a|_1, however many steps share it."""
    critic, seen = Linear(2.0), bounded_turn()
    game = Game(nn.Identity(), critic, Wasserstein())
    clean = Wasserstein().discriminator_loss(critic(seen.real.images), critic(seen.fake.images))
    raised = attack(steps=steps, step_size=0.05, images=images).penalty(game, seen) - clean
    sides = 2 if images == "both" else 1
    torch.testing.assert_close(raised, sides * 0.05 * critic.direction.abs().sum())


def test_attacked_images_stay_in_the_ball_and_in_range() -> None:
    images = torch.tensor([-1.0, -0.99, 0.0, 0.99, 1.0]).double().view(5, 1, 1, 1)
    moved = attack(epsilon=0.05, step_size=0.03, steps=3).attacked(lambda x: x.images.sum(), examples(images))
    torch.testing.assert_close(moved.images.flatten(), torch.tensor([-0.95, -0.94, 0.05, 1.0, 1.0]).double())
    points = 3 * images  # toy points have no bounds but their own
    moved = attack(epsilon=0.5, step_size=0.5).attacked(lambda x: x.images.sum(), examples(points))
    torch.testing.assert_close(moved.images.flatten(), (points.flatten() + 0.5).clamp(max=3.0))


def test_the_attack_raises_the_loss_of_any_objective() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    for objective in (StdGAN(saturating=False), Hinge(), Relativistic(pairing="average", loss="standard")):
        seen = bounded_turn()
        clean = objective.discriminator_loss(network(seen.real.images), network(seen.fake.images))
        assert attack(steps=3, step_size=0.02).penalty(Game(nn.Identity(), network, objective), seen) > clean


def test_clipping_reaches_weights_and_biases_but_no_statistics() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for tensor in (*network.parameters(), network[1].running_mean, network[1].running_var):
        tensor.data.fill_(-3.0)
    network[0].weight.data[0, 0] = 0.05
    WeightClipping(limit=0.1).after_update(network)
    assert network[0].weight[0, 0].item() == pytest.approx(0.05)
    assert network[0].weight[1:].eq(-0.1).all()
    assert network[0].bias.eq(-0.1).all()
    assert network[1].weight.eq(-0.1).all()
    assert network[1].running_mean.eq(-3.0).all()
    assert network[1].running_var.eq(-3.0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: R1(weight=1.0, every=0), "every=0"),
        (lambda: R2(weight=-1.0), "weight=-1.0"),
        (lambda: R2(weight=Ramp(start=1.0, end=-1.0, until=9, shape="linear")), "weight={start: 1.0, end: -1.0"),
        (lambda: WeightClipping(limit=0.0), "limit=0.0"),
        (lambda: Dragan(weight=1.0, target=1.0, scale=-1.0, noise="normal"), "scale=-1.0"),
        (lambda: vat(epsilon=0.0), "epsilon=0.0"),
        (lambda: vat(xi=-1.0), "xi=-1.0"),
        (lambda: vat(num_power_iterations=-1), "num_power_iterations=-1"),
        (lambda: attack(epsilon=0.0), "epsilon=0.0"),
        (lambda: attack(step_size=0.0), "step_size=0.0"),
        (lambda: attack(steps=0), "steps=0"),
        (lambda: attack(epsilon=0.01), "epsilon=0.01 must be at least step_size=0.05"),
    ],
)
def test_settings_out_of_range_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_dragan_is_taken_around_real_images() -> None:
    still = Dragan(weight=1.0, target=0.0, scale=0.0, noise="normal")
    torch.testing.assert_close(penalty(still, Quadratic()), turn().real.images.square().flatten(1).sum(1).mean())


def test_dragans_noise_is_as_wide_as_the_whole_batch() -> None:
    """A batch of one image three times has a deviation, though none between its images."""
    real = torch.randn(1, 2, 30, 30, dtype=torch.float64).expand(3, -1, -1, -1)
    noise = Dragan(weight=1.0, target=1.0, scale=0.5, noise="normal").around(examples(real), real.std()).images - real
    assert noise.std().item() == pytest.approx(0.5 * real.std().item(), rel=0.05)


def test_each_side_is_attacked_against_the_clean_other_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    objective, seen = Relativistic(pairing="paired", loss="least_squares"), bounded_turn()
    game, regularizer = Game(nn.Identity(), network, objective), attack(epsilon=0.5, step_size=0.5)

    def loss(real: Examples, fake: Examples) -> Tensor:
        return objective.discriminator_loss(network(real.images), network(fake.images))

    real = regularizer.attacked(lambda moved: loss(moved, seen.fake), seen.real)
    fake = regularizer.attacked(lambda moved: loss(seen.real, moved), seen.fake)
    expected = loss(real, fake)
    torch.testing.assert_close(regularizer.penalty(game, seen), expected)


def test_a_weight_may_change_from_step_to_step() -> None:
    """From 4 to 0 in 8 steps: R1 of a slope of 3 is 4.5, in a lazy turn `every` times that."""
    fading = Ramp(start=4.0, end=0.0, until=8, shape="linear")
    game = Game(nn.Identity(), Linear(3.0), Wasserstein())
    for step, weight in ((0, 4.0), (2, 3.0), (7, 0.5), (8, 0.0), (20, 0.0)):
        term = R1(weight=fading).term(game, turn(), name="r1", number=1, step=step)
        assert term is not None
        assert term.item() == pytest.approx(weight * 4.5)
    lazy = R1(weight=fading, every=2)
    assert lazy.term(game, turn(), name="r1", number=1, step=2) is None
    term = lazy.term(game, turn(), name="r1", number=2, step=2)
    assert term is not None
    assert term.item() == pytest.approx(2 * 3.0 * 4.5)


def test_penalties_show_images_under_their_own_labels() -> None:
    """Real labels beside real images, generated ones beside generated images, wherever a penalty looks."""
    seen: list[list[int]] = []

    @dataclass(frozen=True)
    class Watched(Game):
        def judge(self, shown: Examples) -> Tensor:
            seen.append(shown.labels.tolist())
            return super().judge(shown)

    plain = turn()
    labelled = replace(
        plain,
        real=examples(plain.real.images, torch.arange(5)),
        fake=examples(plain.fake.images, torch.arange(5, 10)),
    )
    real, fake = list(range(5)), list(range(5, 10))
    cases: list[tuple[Regularizer, list[list[int]]]] = [
        (R1(weight=1.0), [real]),
        (R2(weight=1.0), [fake]),
        (GradientPenalty(weight=1.0, target=1.0, one_sided=False), [real]),
        (Dragan(weight=1.0, target=1.0, scale=0.5, noise="normal"), [real]),
        (vat(num_power_iterations=1), 3 * [real + fake]),
        (attack(), 3 * [real, fake]),
    ]
    for regularizer, expected in cases:
        seen.clear()
        regularizer.penalty(Watched(nn.Identity(), Linear(1.0), Wasserstein()), labelled)
        assert seen == expected, regularizer


@pytest.mark.parametrize("steps", [1, 4])
def test_euclidean_attacks_of_a_linear_critic_cost_the_euclidean_length_of_its_slope(steps: int) -> None:
    """Wasserstein: each attacked image raises its loss by epsilon |a|_2, until it leaves the range."""
    critic, seen = Linear(2.0), bounded_turn()
    seen = a_turn(0.5 * seen.real.images, 0.5 * seen.fake.images)
    clean = Wasserstein().discriminator_loss(critic(seen.real.images), critic(seen.fake.images))
    moved = attack(steps=steps, step_size=0.05, norm="l2").penalty(Game(nn.Identity(), critic, Wasserstein()), seen)
    torch.testing.assert_close(moved - clean, 2 * 0.05 * critic.direction.norm())


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """Of labelled images alone, without a generator."""

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    logits_are_classes = True

    def supervised_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        found = nn.functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return found / (labels >= 0).sum().clamp(min=1)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


@dataclass(frozen=True, kw_only=True)
class AlsoAdversarial(CrossEntropy):
    players = ("discriminator", "generator")


def labelled_turn(labels: list[int]) -> Turn:
    seen = turn()
    real = examples(0.3 * seen.real.images.tanh(), torch.tensor(labels))
    nothing = Outputs(torch.zeros(0, 2, dtype=torch.float64))
    return replace(seen, real=real, labelled=real, fake=seen.fake.rows(slice(0)), fake_outputs=nothing)


@pytest.mark.parametrize("norm", ["sign", "l2"])
def test_labelled_images_of_a_linear_classifier_lose_the_length_of_its_slope(norm: str) -> None:
    """Two classes: each log odds falls by epsilon times the dual norm of the difference of the weights."""
    network, seen = nn.Sequential(nn.Flatten(), nn.Linear(18, 2)).double(), labelled_turn([0, 1, 1, 0, 1])
    slope = (network[1].weight[0] - network[1].weight[1]).detach()
    logits = network(seen.labelled.images)
    own, other = (
        logits.gather(1, labels[:, None])[:, 0] for labels in (seen.labelled.labels, 1 - seen.labelled.labels)
    )
    fall = 0.05 * (slope.abs().sum() if norm == "sign" else slope.norm())
    expected = nn.functional.softplus(other - own + fall).mean()
    game = Game(nn.Identity(), network, CrossEntropy())
    torch.testing.assert_close(attack(norm=norm, images="real").penalty(game, seen), expected)
    torch.testing.assert_close(attack(norm=norm, images="both").penalty(game, seen), expected)
    with pytest.raises(ValueError, match="images=fake, but without a generator"):
        attack(norm=norm, images="fake").penalty(game, seen)


def test_images_without_a_label_are_not_moved() -> None:
    """Not even those that an attacked image shares the statistics of a batch with."""
    shown: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(18), nn.Linear(18, 2)).double()

        def forward(self, images: Tensor) -> Tensor:
            shown.append(images.detach())
            made: Tensor = self.layers(images)
            return made

    seen = labelled_turn([0, -1, 1, -1, 1])
    attack(steps=3, step_size=0.02, images="real").penalty(Game(nn.Identity(), Watched(), CrossEntropy()), seen)
    offset = (shown[-1] - seen.labelled.images).abs().flatten(1).amax(1)
    torch.testing.assert_close(offset, torch.tensor([0.05, 0.0, 0.05, 0.0, 0.05]).double())


def test_an_adversarial_objective_with_labels_is_attacked_on_both_losses() -> None:
    network, seen = nn.Sequential(nn.Flatten(), nn.Linear(18, 2)).double(), labelled_turn([0, 1, 1, 0, 1])
    seen = replace(seen, fake=examples(-seen.real.images))
    game = Game(nn.Identity(), network, AlsoAdversarial())
    alone = Game(nn.Identity(), network, CrossEntropy())
    for images in ("real", "both"):
        whole = attack(images=images).penalty(game, seen)
        adversarial = attack(images=images).adversarial(game, seen)
        torch.testing.assert_close(whole, adversarial + attack(images="real").penalty(alone, seen))
    torch.testing.assert_close(attack(images="fake").penalty(game, seen), attack(images="fake").adversarial(game, seen))
