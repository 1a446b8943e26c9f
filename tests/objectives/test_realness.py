"""RealnessGAN against its reductions, its gradient identities and the optimum of the paper's theorem, in float64."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gan_cli.objectives import Realness, StdGAN
from gan_cli.objectives.realness import Law, ResamplingHead, cross_entropy, expected_histogram, histogram

from ..conftest import realness

BASE = realness(num_outcomes=5, anchors="expected")
TWO_ATOMS = replace(BASE, num_outcomes=2, real_skew=2.0, fake_skew=-2.0)  # A0 = (1, 0), A1 = (0, 1)


def logits(count: int, outcomes: int, seed: int) -> Tensor:
    return torch.randn(count, outcomes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_outcomes_are_the_standard_gan() -> None:
    real, fake = logits(7, 1, 0), logits(7, 1, 1)
    pair_real, pair_fake = (torch.cat([torch.zeros_like(v), v], dim=1) for v in (real, fake))
    standard = StdGAN(saturating=True)
    torch.testing.assert_close(
        TWO_ATOMS.discriminator_loss(pair_real, pair_fake), standard.discriminator_loss(real, fake)
    )
    torch.testing.assert_close(
        replace(TWO_ATOMS, generator_objective=1).generator_loss(None, pair_fake),
        standard.generator_loss(None, fake),
    )
    torch.testing.assert_close(replace(TWO_ATOMS, generator_objective=3).generator_loss(None, pair_fake), -fake.mean())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_generator_objectives_have_the_gradients_of_their_kl_divergences(number: int) -> None:
    objective = replace(BASE, generator_objective=number)
    real, fake = logits(6, 5, 0), logits(6, 5, 1).requires_grad_(True)
    objective.generator_loss(real, fake).backward()
    fake_anchor, real_anchor = objective.fake_anchor(real), objective.real_anchor(real)
    expected = {
        1: (fake_anchor - fake.softmax(1)) / 6,
        2: (fake_anchor - real.softmax(1).mean(0)).expand(6, 5) / 6,
        3: (fake_anchor - real_anchor).expand(6, 5) / 6,
    }
    torch.testing.assert_close(fake.grad, expected[number].detach())


def test_objective_two_is_the_average_over_all_pairings() -> None:
    real, fake = logits(4, 5, 0), logits(4, 5, 1)
    paired = []
    for shift in range(4):
        rolled = real.roll(shift, 0).softmax(1)
        kl = (rolled * (rolled.log() - fake.log_softmax(1))).sum(1).mean()
        entropy = -(rolled * rolled.log()).sum(1).mean()
        paired.append(kl + entropy - cross_entropy(BASE.fake_anchor(real), fake))
    torch.testing.assert_close(BASE.generator_loss(real, fake), torch.stack(paired).mean())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_only_objective_two_reads_real_images(number: int) -> None:
    objective = replace(BASE, generator_objective=number)
    fake = logits(6, 5, 1)
    assert objective.generator_reads_real == (number == 2)
    differs = not torch.equal(
        objective.generator_loss(logits(6, 5, 2), fake), objective.generator_loss(logits(6, 5, 3), fake)
    )
    assert differs == (number == 2)


def test_optimal_discriminator_mixes_the_anchors() -> None:
    """Theorem 1: D*(x) = (p_data A1 + p_g A0) / (p_data + p_g); no other logits do better."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    objective = replace(BASE, real_skew=0.3, fake_skew=-0.3)
    like = torch.zeros(1, dtype=torch.float64)
    real_anchor, fake_anchor = objective.real_anchor(like), objective.fake_anchor(like)
    optimum = (p[:, None] * real_anchor + q[:, None] * fake_anchor) / (p + q)[:, None]
    table = optimum.log().requires_grad_(True)
    rows_real, rows_fake = (torch.arange(3).repeat_interleave((w * 20).round().long()) for w in (p, q))
    loss = objective.discriminator_loss(table[rows_real], table[rows_fake])
    loss.backward()
    torch.testing.assert_close(table.grad, torch.zeros(3, 5, dtype=torch.float64), atol=1e-12, rtol=0)


def test_equilibrium_value_is_twice_the_entropy_of_the_middle() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    objective = replace(BASE, num_outcomes=3)
    middle = (objective.real_anchor(like) + objective.fake_anchor(like)) / 2
    uninformed = middle.log().expand(9, 3)
    loss = objective.discriminator_loss(uninformed, uninformed).item()
    assert loss == pytest.approx(-2 * (middle * middle.log()).sum().item(), rel=1e-12)
    assert loss == pytest.approx(2.145, abs=2e-3)  # Monte Carlo over 20,000 redraws


@pytest.mark.parametrize(
    ("outcomes", "normal", "tolerance"),
    [
        (3, [0.148, 0.704, 0.148], 1e-3),
        (5, [0.030, 0.234, 0.470, 0.235, 0.031], 1e-3),
        (10, [0.0065, 0.024, 0.0745, 0.160, 0.235, 0.235, 0.160, 0.0745, 0.024, 0.0065], 1e-3),
    ],
)
def test_expected_histogram_of_normal_draws(outcomes: int, normal: list[float], tolerance: float) -> None:
    """Against means over 20,000 redraws."""
    torch.testing.assert_close(
        torch.tensor(expected_histogram(Law("normal"), 1000, outcomes)), torch.tensor(normal), atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("draws", [2, 7, 1000])
def test_expected_histogram_of_uniform_draws_has_a_closed_form(draws: int) -> None:
    """The extremes fill the outer bins; the other draws are uniform between them."""
    expected = torch.full((4,), (draws - 2) / 4)
    expected[0] += 1
    expected[-1] += 1
    torch.testing.assert_close(torch.tensor(expected_histogram(Law("uniform"), draws, 4)), expected / draws)


@pytest.mark.parametrize("side", ["real", "fake"])
@pytest.mark.parametrize("shape", ["normal_uniform", "skewed_normal"])
def test_resampled_anchors_average_to_the_expected_ones(side: str, shape: str) -> None:
    torch.manual_seed(0)
    objective = replace(BASE, anchors="resampled", num_anchor_samples=50, anchor_shape=shape)
    like = torch.zeros(1, dtype=torch.float64)
    mean = torch.stack([objective.histogram(side, like) for _ in range(4000)]).mean(0)
    expected = replace(objective, anchors="expected").histogram(side, like)
    torch.testing.assert_close(mean, expected, atol=4e-3, rtol=0)


def test_anchors_are_redrawn_or_fixed_as_asked() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    resampled, fixed = replace(BASE, anchors="resampled"), replace(BASE, anchors="fixed")
    assert not torch.equal(resampled.fake_anchor(like), resampled.fake_anchor(like))
    assert torch.equal(fixed.fake_anchor(like), fixed.fake_anchor(like))
    assert not torch.equal(fixed.fake_anchor(like), replace(fixed, anchor_seed=1).fake_anchor(like))


def test_histogram_counts_both_extremes() -> None:
    draws = torch.tensor([-2.0, 2.0, 0.1, -0.1])
    torch.testing.assert_close(histogram(draws, 4), torch.tensor([0.25, 0.25, 0.25, 0.25]))


@pytest.mark.parametrize("skew", [-1.0, -0.3, 0.0, 0.5, 1.0, 3.0])
def test_shift_conserves_mass_and_moves_the_mean(skew: float) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    objective = replace(BASE, num_outcomes=9, support_min=-2.0, support_max=2.0)
    moved = objective.shift(skew, like)
    torch.testing.assert_close(moved.sum(1), torch.ones(9, dtype=torch.float64))
    support = torch.linspace(objective.support_min, objective.support_max, objective.num_outcomes).to(like)
    torch.testing.assert_close(moved @ support, (support + skew).clamp(-2, 2))


def test_no_skew_is_the_identity_and_support_scales_with_skew() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(BASE.shift(0.0, like), torch.eye(5, dtype=torch.float64))
    wide = replace(BASE, support_min=-10.0, support_max=10.0)
    torch.testing.assert_close(wide.shift(10.0, like), BASE.shift(1.0, like))
    assert not torch.allclose(wide.shift(1.0, like), BASE.shift(1.0, like))


def test_shifted_anchors_match_the_table() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    objective = replace(BASE, num_outcomes=3)
    torch.testing.assert_close(
        objective.fake_anchor(like), torch.tensor([0.852, 0.148, 0.0]).double(), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        objective.real_anchor(like), torch.tensor([0.0, 0.334, 0.666]).double(), atol=1e-3, rtol=0
    )


def test_score_is_the_standard_logit_at_two_outcomes() -> None:
    v = logits(7, 1, 0)
    torch.testing.assert_close(TWO_ATOMS.score(torch.cat([torch.zeros_like(v), v], dim=1)), v[:, 0])


@pytest.mark.parametrize("anchors", ["resampled", "expected"])
def test_score_compares_the_fits_of_both_anchors_without_noise(anchors: str) -> None:
    """<A1 - A0, l> is CE(A0, l) - CE(A1, l), because the normaliser cancels; real-like predictions score higher."""
    objective, like = replace(BASE, anchors=anchors), torch.zeros(1, dtype=torch.float64)
    batch = logits(1, 5, 0)
    fits = [cross_entropy(anchor(like), batch) for anchor in (BASE.fake_anchor, BASE.real_anchor)]
    torch.testing.assert_close(objective.score(batch)[0], fits[0] - fits[1])
    torch.testing.assert_close(objective.score(batch + 3.0), objective.score(batch))
    convinced = torch.stack([BASE.real_anchor(like), BASE.fake_anchor(like)]).clamp(min=1e-6).log()
    assert objective.score(convinced)[0] > 0 > objective.score(convinced)[1]


def test_extreme_logits_stay_finite() -> None:
    extreme = torch.tensor([[1000.0, 0, 0, 0, -1000.0]])
    assert BASE.discriminator_loss(extreme, -extreme).isfinite()
    assert BASE.generator_loss(extreme, -extreme).isfinite()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_outcomes": 1}, "num_outcomes"),
        ({"num_anchor_samples": 1}, "num_anchor"),
        ({"support_max": -1.0}, "support"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(BASE, **change)


def shares(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_skews_are_independent_of_each_other() -> None:
    like, both = torch.zeros(1, dtype=torch.float64), replace(BASE, num_outcomes=3)
    one = replace(both, real_skew=0.0)
    torch.testing.assert_close(one.fake_anchor(like), both.fake_anchor(like))
    torch.testing.assert_close(one.real_anchor(like), torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-3, rtol=0)


def test_expected_histogram_of_few_normal_draws() -> None:
    """Of three draws only the middle one is not an extreme: Monte Carlo of where it falls between them."""
    draws = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(0)).sort(1).values
    place = (draws[:, 1] - draws[:, 0]) / (draws[:, 2] - draws[:, 0])
    mean = (place * 4).long().clamp(max=3).bincount(minlength=4) / 400_000 / 3
    mean[0] += 1 / 3
    mean[-1] += 1 / 3
    torch.testing.assert_close(torch.tensor(expected_histogram(Law("normal"), 3, 4)), mean, atol=1.5e-3, rtol=0)


def test_objective_two_sends_no_gradient_to_real_logits() -> None:
    real, fake = torch.zeros(2, 5, requires_grad=True), torch.ones(2, 5, requires_grad=True)
    assert torch.autograd.grad(BASE.generator_loss(real, fake), real, allow_unused=True) == (None,)


def test_fixed_anchors_are_drawn_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    """From one seed for both, the noise of the two anchors would agree."""
    seeds: dict[str, int] = {}

    def watched(law: Law, count: int, generator: torch.Generator) -> Tensor:
        seeds[law.name] = generator.initial_seed()
        return torch.linspace(0, 1, count)

    monkeypatch.setattr(Law, "draw", watched)
    fixed, like = replace(BASE, anchors="fixed"), torch.zeros(1)
    fixed.fake_anchor(like)
    fixed.real_anchor(like)
    assert set(seeds) == {"normal", "uniform"}
    assert seeds["normal"] != seeds["uniform"]


def test_skewed_anchors_mirror_each_other() -> None:
    like, skewed = torch.zeros(1, dtype=torch.float64), replace(BASE, anchor_shape="skewed_normal")
    real_anchor, fake_anchor = skewed.mean_anchors(like)
    torch.testing.assert_close(real_anchor, fake_anchor.flip(0))
    assert skewed.histogram("real", like)[0] > skewed.histogram("real", like)[-1]  # +5: the long tail is on the right
    symmetric = replace(skewed, anchor_skewness=0.0)
    torch.testing.assert_close(symmetric.histogram("real", like), BASE.histogram("fake", like))


def test_skew_normal_draws_have_the_closed_form_moments() -> None:
    """Azzalini 1985: mean d sqrt(2 / pi), variance 1 - 2 d^2 / pi, with d = a / sqrt(1 + a^2)."""
    d = 5 / 26**0.5
    draws = Law("skewed_normal", 5.0).draw(400_000, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(d * (2 / torch.pi) ** 0.5, abs=4e-3)
    assert draws.var().item() == pytest.approx(1 - 2 * d**2 / torch.pi, abs=4e-3)
    below = (draws < 0.5).double().mean().item()
    assert below == pytest.approx(Law("skewed_normal", 5.0).cdf(torch.tensor(0.5).numpy()).item(), abs=4e-3)


@pytest.mark.parametrize(
    ("shape", "outcomes", "skew", "kl", "tolerance"),
    [
        ("skewed_normal", 3, 0.0, 1.66, 0.43),  # means over redraws, and their deviations
        ("normal_uniform", 3, 0.0, 0.35, 0.09),
        ("normal_uniform", 3, 1.0, 24.5, 0.1),
        ("normal_uniform", 51, 1.0, 34.0, 0.1),
        ("normal_uniform", 51, 0.5, 17.4, 0.7),
    ],
)
def test_the_divergence_between_the_anchors_is_told(
    shape: str, outcomes: int, skew: float, kl: float, tolerance: float
) -> None:
    objective = replace(BASE, num_outcomes=outcomes, anchor_shape=shape, real_skew=skew, fake_skew=-skew)
    assert objective.facts()["anchor_kl"] == pytest.approx(kl, abs=tolerance)


def test_the_divergence_of_redrawn_anchors_agrees_with_the_table() -> None:
    torch.manual_seed(0)
    objective = replace(
        BASE, num_outcomes=3, anchors="resampled", anchor_shape="skewed_normal", real_skew=0.0, fake_skew=0.0
    )
    like, divergences = torch.zeros(1, dtype=torch.float64), []
    for _ in range(300):
        real_anchor, fake_anchor = objective.real_anchor(like), objective.fake_anchor(like)
        divergences.append((real_anchor * (real_anchor / fake_anchor).log()).sum())
    assert torch.stack(divergences).mean().item() == pytest.approx(1.66, abs=0.1)
    assert torch.stack(divergences).std().item() == pytest.approx(0.43, abs=0.1)


def test_a_loss_above_equilibrium_is_its_divergences_above_twice_the_jensen_shannon_one() -> None:
    objective, real, fake = replace(BASE, real_skew=0.4, fake_skew=-0.4), logits(6, 5, 0), logits(6, 5, 1)
    like = torch.zeros(1, dtype=torch.float64)
    real_anchor, fake_anchor = objective.mean_anchors(like)
    kl = sum(
        (anchor * (anchor.log() - rows.log_softmax(1))).sum(1).mean()
        for anchor, rows in ((real_anchor, real), (fake_anchor, fake))
    )
    middle = (real_anchor + fake_anchor) / 2
    js = sum((anchor * (anchor / middle).log()).sum() for anchor in (real_anchor, fake_anchor)) / 2
    above = objective.discriminator_loss(real, fake) - objective.equilibrium_loss()
    torch.testing.assert_close(above, kl - 2 * js)
    assert objective.facts()["anchor_js"] == pytest.approx(js.item(), rel=1e-12)


def test_pairing_by_index_compares_row_with_row() -> None:
    real, fake = logits(4, 5, 0), logits(4, 5, 1)
    paired = replace(BASE, pairing="index")
    p, q = real.softmax(1), fake.log_softmax(1)
    expected = -(p * q).sum(1).mean() - cross_entropy(BASE.fake_anchor(real), fake)
    torch.testing.assert_close(paired.generator_loss(real, fake), expected)
    rolled = torch.stack([paired.generator_loss(real.roll(shift, 0), fake) for shift in range(4)])
    torch.testing.assert_close(rolled.mean(), BASE.generator_loss(real, fake))
    assert not torch.allclose(rolled[0], rolled[1])
    with pytest.raises(ValueError, match="as many real images as fake"):
        paired.generator_loss(real[:3], fake)


def test_a_table_of_logits_learns_the_mixture_of_anchors() -> None:
    """Gradient descent on a finite space ends at D*(x) = (p A1 + q A0) / (p + q) of theorem 1."""
    p, q = shares(0.2, 0.3, 0.5), shares(0.5, 0.25, 0.25)
    objective = replace(BASE, real_skew=0.3, fake_skew=-0.3)
    rows_real, rows_fake = (torch.arange(3).repeat_interleave((w * 20).round().long()) for w in (p, q))
    table = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = objective.discriminator_loss(table[rows_real], table[rows_fake])
        value.backward()
        return value.item()

    optimizer.step(loss)
    real_anchor, fake_anchor = objective.mean_anchors(torch.zeros(1, dtype=torch.float64))
    optimum = (p[:, None] * real_anchor + q[:, None] * fake_anchor) / (p + q)[:, None]
    torch.testing.assert_close(table.detach().softmax(1), optimum, atol=1e-5, rtol=0)


def test_feature_resampling_draws_logits_around_a_predicted_mean() -> None:
    """Mean mu and variance exp(log_variance) in training; mu alone at rest; gradients reach both."""
    torch.manual_seed(0)
    statistics = torch.tensor([[1.0, -2.0, 0.5, 2 * math.log(3)]])
    network = torch.nn.Linear(1, 4, bias=False)
    network.weight.data = statistics.T.clone()
    head = ResamplingHead(network)
    drawn = head(torch.ones(200_000, 1))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -2.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.tensor([math.exp(0.25), 3.0]), atol=0.03, rtol=0)
    drawn.square().sum().backward()
    assert (network.weight.grad != 0).all()
    torch.testing.assert_close(head.eval()(torch.ones(2, 1)), torch.tensor([[1.0, -2.0]]).expand(2, 2))


def test_feature_resampling_asks_for_twice_the_outputs() -> None:
    widths: list[int] = []

    def build(width: int) -> torch.nn.Module:
        widths.append(width)
        return torch.nn.Linear(3, width)

    plain, resampling = BASE.head(build), replace(BASE, feature_resampling=True).head(build)
    assert widths == [5, 10]
    assert plain(torch.zeros(2, 3)).shape == resampling(torch.zeros(2, 3)).shape == (2, 5)


def test_disagreement_is_the_divergence_between_two_predictions() -> None:
    one, other = logits(6, 5, 0), logits(6, 5, 1)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=one), torch.distributions.Categorical(logits=other)
    )
    torch.testing.assert_close(BASE.disagreement(one, other), expected)
    torch.testing.assert_close(BASE.disagreement(one, one + 1.0), torch.zeros(6, dtype=torch.float64))


def test_fixed_anchors_are_the_ones_that_are_told_of_and_scored_by() -> None:
    fixed, like = replace(BASE, anchors="fixed", anchor_seed=3, num_anchor_samples=20), torch.zeros(1).double()
    middle = (fixed.real_anchor(like) + fixed.fake_anchor(like)) / 2
    assert fixed.equilibrium_loss() == pytest.approx(-2 * torch.special.xlogy(middle, middle).sum().item())
    assert fixed.facts() != replace(fixed, anchor_seed=4).facts()
    batch = logits(3, 5, 0)
    torch.testing.assert_close(fixed.score(batch), batch @ (fixed.real_anchor(like) - fixed.fake_anchor(like)))


def test_anchors_of_a_step_are_drawn_before_it_and_kept_for_both_players() -> None:
    objective = replace(BASE, anchors="resampled_each_step", num_anchor_samples=200)
    like = torch.zeros(1, BASE.num_outcomes)
    expected = replace(objective, anchors="expected")
    assert torch.equal(objective.histogram("real", like), torch.full((5,), 1 / 5))  # before the first step
    torch.manual_seed(0)
    objective.before_step(torch.device("cpu"), 0)
    first = objective.real_anchor(like), objective.fake_anchor(like)
    assert torch.equal(objective.real_anchor(like), first[0])
    assert torch.equal(objective.fake_anchor(like), first[1])
    assert torch.equal(torch.get_rng_state(), after_two_histograms(objective))
    objective.before_step(torch.device("cpu"), 0)
    assert not torch.equal(objective.real_anchor(like), first[0])
    draws = torch.stack([drawn_again(objective, like) for _ in range(2000)]).double()
    error = draws.std(0) / 2000**0.5
    assert ((draws.mean(0) - expected.real_anchor(like)).abs() < 5 * error + 1e-6).all()


def drawn_again(objective: Realness, like: torch.Tensor) -> torch.Tensor:
    objective.before_step(torch.device("cpu"), 0)
    return objective.real_anchor(like)


def after_two_histograms(objective: Realness) -> torch.Tensor:
    """The random state once seed 0 has drawn one sample for each side."""
    torch.manual_seed(0)
    for side in ("real", "fake"):
        objective.law(side).draw(objective.num_anchor_samples, None)
    return torch.get_rng_state()


@pytest.mark.parametrize("anchors", ["resampled", "resampled_each_step", "fixed", "expected"])
def test_no_loss_or_score_copies_from_the_host(anchors: str) -> None:
    """A list or a number of Python becomes a tensor by lift_fresh: once for each constant, never again."""
    objective = replace(BASE, anchors=anchors, generator_objective=2)
    real, fake = torch.randn(4, BASE.num_outcomes), torch.randn(4, BASE.num_outcomes)

    def one_step() -> None:
        objective.before_step(real.device, 0)
        objective.discriminator_loss(real, fake)
        objective.generator_loss(real, fake)
        objective.score(fake)
        objective.disagreement(real, fake)

    one_step()
    with Calls() as calls:
        one_step()
    assert "aten::lift_fresh" not in calls.names
    with Calls() as calls:
        torch.tensor([0.1, 0.2])
    assert "aten::lift_fresh" in calls.names  # what a copy looks like


class Calls(TorchDispatchMode):
    """Records the name of every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name().split(".")[0])
        return func(*args, **(kwargs or {}))
