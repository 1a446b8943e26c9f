"""Objectives against closed forms, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_cli.objectives import LSGAN, Hinge, Objective, Relativistic, StdGAN, Wasserstein

from ..pairwise import every_third_quick

REAL = torch.tensor([[0.3], [-1.2], [2.5], [40.0]], dtype=torch.float64)
FAKE = torch.tensor([[-0.7], [0.4], [1.0], [-40.0]], dtype=torch.float64)


def test_stdgan_is_binary_cross_entropy() -> None:
    ones, zeros = torch.ones_like(REAL), torch.zeros_like(FAKE)
    real_term = binary_cross_entropy_with_logits(REAL, ones)
    fake_term = binary_cross_entropy_with_logits(FAKE, zeros)
    torch.testing.assert_close(StdGAN(saturating=False).discriminator_loss(REAL, FAKE), real_term + fake_term)
    torch.testing.assert_close(
        StdGAN(saturating=False).generator_loss(None, FAKE), binary_cross_entropy_with_logits(FAKE, ones)
    )
    torch.testing.assert_close(StdGAN(saturating=True).generator_loss(None, FAKE), -fake_term)


def test_stdgan_at_its_optimum_measures_the_jensen_shannon_divergence() -> None:
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    loss = StdGAN(saturating=False).discriminator_loss(repeated((p / q).log(), p), repeated((p / q).log(), q))
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    torch.testing.assert_close(-loss, 2 * divergence - math.log(4))


@pytest.mark.parametrize("saturating", [True, False])
def test_both_stdgan_generator_losses_fall_as_the_score_rises(saturating: bool) -> None:
    logits = FAKE.clone().requires_grad_(True)
    StdGAN(saturating=saturating).generator_loss(None, logits).backward()
    share = torch.sigmoid(FAKE) if saturating else torch.sigmoid(-FAKE)
    torch.testing.assert_close(logits.grad, -share / len(FAKE))


def test_hinge() -> None:
    real, fake = torch.tensor([[0.5], [2.0]]).double(), torch.tensor([[-3.0], [0.5]]).double()
    assert Hinge().discriminator_loss(real, fake).item() == pytest.approx((0.5 + 0) / 2 + (0 + 1.5) / 2)
    assert Hinge().generator_loss(None, fake).item() == pytest.approx(1.25)


def test_hinge_optimum_is_two_minus_twice_the_overlap() -> None:
    """With D = sign(p - q), the loss is 2 * sum(min(p, q)): 2 for equal distributions, 0 for disjoint ones."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    loss = Hinge().discriminator_loss(repeated((p - q).sign(), p), repeated((p - q).sign(), q))
    torch.testing.assert_close(loss, 2 * torch.minimum(p, q).sum())


def test_lsgan_at_its_optimum_measures_a_triangular_divergence() -> None:
    """With targets 0 and 1 the best output is p / (p + q), whose loss is 1/4 - 1/8 sum (p - q)^2 / (p + q)."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    objective = LSGAN(fake_target=0.0, real_target=1.0, generator_target=1.0)

    def loss(outputs: Tensor) -> Tensor:
        return objective.discriminator_loss(repeated(outputs, p), repeated(outputs, q))

    best = p / (p + q)
    torch.testing.assert_close(loss(best), 0.25 - ((p - q).square() / (p + q)).sum() / 8)
    for change in torch.eye(3).double():
        assert min(loss(best + 0.01 * change), loss(best - 0.01 * change)) > loss(best)


def test_relativistic_pairs_at_their_optimum_measure_how_pairs_differ_from_swapped_ones() -> None:
    """log 2 - JS(p x q, q x p): log 2 where both are one distribution, and 0 where they are apart."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    objective = Relativistic(pairing="paired", loss="standard")

    def loss(outputs: Tensor, p: Tensor = p, q: Tensor = q) -> Tensor:
        real, fake = repeated(outputs, p), repeated(outputs, q)
        pairs = torch.cartesian_prod(real[:, 0], fake[:, 0])  # every real image with every generated one
        return objective.discriminator_loss(pairs[:, :1], pairs[:, 1:])

    def divergence(p: Tensor, q: Tensor) -> Tensor:
        one, other = torch.outer(p, q), torch.outer(q, p)
        middle = (one + other) / 2
        return (torch.special.xlogy(one, one / middle) + torch.special.xlogy(other, other / middle)).sum() / 2

    best = (p / q).log()
    torch.testing.assert_close(loss(best), math.log(2) - divergence(p, q))
    torch.testing.assert_close(loss(best + 7), loss(best))
    for change in (torch.eye(3) - 1 / 3).double():
        assert min(loss(best + 0.01 * change), loss(best - 0.01 * change)) > loss(best)
    torch.testing.assert_close(loss(0 * p, p, p), torch.tensor(math.log(2)).double())
    apart = shares(1.0, 0.0, 0.0), shares(0.0, 0.5, 0.5)
    assert loss(torch.tensor([40.0, 0.0, 0.0]).double(), *apart).item() == pytest.approx(0.0, abs=1e-15)


def test_wasserstein_is_antisymmetric_and_indifferent_to_a_shift() -> None:
    loss = Wasserstein().discriminator_loss(REAL, FAKE)
    torch.testing.assert_close(loss, FAKE.mean() - REAL.mean())
    torch.testing.assert_close(Wasserstein().discriminator_loss(FAKE, REAL), -loss)
    torch.testing.assert_close(Wasserstein().discriminator_loss(REAL + 5, FAKE + 5), loss)
    torch.testing.assert_close(Wasserstein().generator_loss(None, FAKE), -FAKE.mean())


@pytest.mark.parametrize("objective", [StdGAN(saturating=False), Hinge(), Wasserstein()])
def test_the_score_is_the_logit(objective: Objective) -> None:
    assert objective.num_outcomes == 1
    torch.testing.assert_close(objective.score(REAL), REAL[:, 0])


def repeated(output: Tensor, weights: Tensor) -> Tensor:
    """Logits of a batch in which outcome i makes up the share weights[i]."""
    return output.repeat_interleave((weights * 20).round().long()).unsqueeze(1)


def shares(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_one_sided_label_smoothing_moves_the_optimum_of_real_images_alone() -> None:
    """sigma(v*) = s p / (p + q) (Salimans et al. 2016, section 3.4): stationary there, and nowhere else."""
    p, q, s = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25), 0.9
    optimum = torch.logit(s * p / (p + q)).requires_grad_(True)
    rows = [torch.arange(3).repeat_interleave((weights * 20).round().long()) for weights in (p, q)]
    smoothed = StdGAN(saturating=False, real_target=s)
    loss = smoothed.discriminator_loss(*(optimum[row][:, None] for row in rows))
    (gradient,) = torch.autograd.grad(loss, optimum)
    torch.testing.assert_close(gradient, torch.zeros(3).double(), atol=1e-12, rtol=0)
    targets = torch.full_like(REAL, s)
    expected = binary_cross_entropy_with_logits(REAL, targets) + binary_cross_entropy_with_logits(FAKE, 0 * FAKE)
    torch.testing.assert_close(smoothed.discriminator_loss(REAL, FAKE), expected)
    torch.testing.assert_close(smoothed.generator_loss(None, FAKE), STANDARD.generator_loss(None, FAKE))


STANDARD = StdGAN(saturating=False)


def test_lsgan_regresses_to_its_three_targets() -> None:
    objective = LSGAN(fake_target=-1.0, real_target=1.0, generator_target=0.0)
    real, fake = torch.tensor([[3.0], [1.0]]).double(), torch.tensor([[-1.0], [2.0]]).double()
    assert objective.discriminator_loss(real, fake).item() == pytest.approx((4 + 0) / 4 + (0 + 9) / 4)
    assert objective.generator_loss(None, fake).item() == pytest.approx((1 + 4) / 4)


def test_lsgan_generator_minimises_a_pearson_divergence() -> None:
    """Mao et al. 2017, section 3.2: with (-1, 1, 0), 2 C(G) = chi^2(p + q || 2 q), the real term included."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    objective = LSGAN(fake_target=-1.0, real_target=1.0, generator_target=0.0)
    optimum = (p - q) / (p + q)  # (b p + a q) / (p + q)
    cost = objective.generator_loss(None, repeated(optimum, q)) + objective.generator_loss(None, repeated(optimum, p))
    torch.testing.assert_close(2 * cost, ((p + q - 2 * q) ** 2 / (p + q)).sum())


@pytest.mark.parametrize("loss", ["standard", "least_squares", "hinge"])
def test_relativistic_losses_against_their_formulas(loss: str) -> None:
    real, fake = torch.tensor([[0.5], [-1.0], [2.0]]).double(), torch.tensor([[1.5], [0.0], [-0.5]]).double()
    cost = {
        "standard": lambda x: torch.log1p(torch.exp(-x)),
        "least_squares": lambda x: (x - 1) ** 2,
        "hinge": lambda x: (1 - x).clamp(min=0),
    }[loss]
    paired, average = (Relativistic(pairing=pairing, loss=loss) for pairing in ("paired", "average"))
    torch.testing.assert_close(paired.discriminator_loss(real, fake), cost(real - fake).mean())
    torch.testing.assert_close(paired.generator_loss(real, fake), cost(fake - real).mean())
    torch.testing.assert_close(
        average.discriminator_loss(real, fake), cost(real - fake.mean()).mean() + cost(real.mean() - fake).mean()
    )
    torch.testing.assert_close(
        average.generator_loss(real, fake), cost(fake - real.mean()).mean() + cost(fake.mean() - real).mean()
    )


@pytest.mark.parametrize("pairing", ["paired", "average"])
def test_relativistic_losses_only_know_differences(pairing: str) -> None:
    for loss in ("standard", "least_squares", "hinge"):
        objective = Relativistic(pairing=pairing, loss=loss)  # type: ignore[arg-type]
        torch.testing.assert_close(
            objective.discriminator_loss(REAL + 3, FAKE + 3), objective.discriminator_loss(REAL, FAKE)
        )


def test_gradients_flow_through_the_average() -> None:
    """With one image a side, standard and average: both terms see the same difference, from both sides."""
    real, fake = (torch.tensor([[value]]).double().requires_grad_(True) for value in (0.3, 0.1))
    loss = Relativistic(pairing="average", loss="standard").discriminator_loss(real, fake)
    gradients = torch.autograd.grad(loss, (real, fake))
    expected = 2 * torch.sigmoid(fake - real).detach()
    torch.testing.assert_close(gradients, (-expected, expected))


def test_pairs_need_equal_numbers() -> None:
    with pytest.raises(ValueError, match="as many real images as fake"):
        Relativistic(pairing="paired", loss="standard").discriminator_loss(REAL[:2], FAKE)


EQUILIBRIA: list[Objective] = [
    StdGAN(saturating=False),
    StdGAN(saturating=True, real_target=0.8),
    LSGAN(fake_target=-1.0, real_target=2.0, generator_target=0.0),
    Hinge(),
    Wasserstein(),
    *(
        Relativistic(pairing=pairing, loss=loss)  # type: ignore[arg-type]
        for pairing in ("paired", "average")
        for loss in ("standard", "least_squares", "hinge")
    ),
]


@pytest.mark.parametrize("objective", every_third_quick(EQUILIBRIA, of_one_value=True), ids=str)
def test_equilibrium_loss_is_the_least_that_one_constant_output_can_reach(objective: Objective) -> None:
    """Where p = q no image tells, so the best discriminator is constant: scan for it."""
    outputs = torch.linspace(-5, 5, 10_001, dtype=torch.float64)
    least = min(objective.discriminator_loss(v.view(1, 1), v.view(1, 1)).item() for v in outputs)
    assert objective.equilibrium_loss() == pytest.approx(least, abs=1e-6)
    assert objective.facts() == {"equilibrium_loss": objective.equilibrium_loss()}


@pytest.mark.parametrize("objective", EQUILIBRIA, ids=str)
def test_the_best_score_is_above_the_undecided_one_where_real_images_are_more_likely(objective: Objective) -> None:
    """At one image, of probability p and q: the part of the loss that real ones make counts p / q as much."""
    undecided = objective.undecided_score()
    if isinstance(objective, Relativistic | Wasserstein):
        moved = [objective.discriminator_loss(REAL + by, FAKE + by) for by in (0, 3)]
        torch.testing.assert_close(*moved)  # nothing fixes the logits' level
        assert undecided is None
        return
    assert undecided is not None
    scores = undecided + torch.linspace(-4, 4, 401, dtype=torch.float64)
    other = torch.tensor([[undecided]], dtype=torch.float64)
    of_real = torch.stack([objective.discriminator_loss(score.view(1, 1), other) for score in scores])
    of_fake = torch.stack([objective.discriminator_loss(other, score.view(1, 1)) for score in scores])
    for share in (0.5, 0.9, 1.1, 2.0):
        best = scores[(share * of_real + of_fake).argmin()]
        assert (best > undecided) == (share > 1)
    assert StdGAN(saturating=False).undecided_score() == 0
    assert LSGAN(fake_target=1.0, real_target=0.0, generator_target=0.0).undecided_score() is None


def test_disagreement_of_a_probability_is_the_bernoulli_divergence() -> None:
    one, other = REAL, FAKE
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(logits=one[:3, 0]), torch.distributions.Bernoulli(logits=other[:3, 0])
    )
    torch.testing.assert_close(STANDARD.disagreement(one[:3], other[:3]), expected)
    assert STANDARD.disagreement(one, other).isfinite().all()


@pytest.mark.parametrize("objective", [Hinge(), Wasserstein(), EQUILIBRIA[2]], ids=str)
def test_disagreement_of_critics_is_half_the_squared_difference(objective: Objective) -> None:
    torch.testing.assert_close(objective.disagreement(REAL, FAKE), (REAL - FAKE).square()[:, 0] / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StdGAN(saturating=False, real_target=0.0), "real_target"),
        (lambda: StdGAN(saturating=False, real_target=1.1), "real_target"),
        (lambda: LSGAN(fake_target=1.0, real_target=1.0, generator_target=0.0), "must differ"),
    ],
)
def test_settings_out_of_range_are_named(make: Callable[[], Objective], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
