"""Samplers against the distributions they aim at, and searches that look but do not touch."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from gan_cli.experiment import Experiment
from gan_cli.game import Game
from gan_cli.latent_samplers import (
    DDLS,
    DRS,
    MH,
    AdvLatDiv,
    AdvLatQua,
    AdvLatZ,
    Gaussian,
    LabelPairs,
    LatentSampler,
    Refinement,
    TruncatedGaussian,
    Uniform,
)
from gan_cli.latent_samplers.calibration import calibrated, num_at_once
from gan_cli.latent_samplers.ddls import reflected
from gan_cli.latent_samplers.mh import FittedMH
from gan_cli.latent_samplers.search import as_many
from gan_cli.objectives import Relativistic, StdGAN, Wasserstein
from gan_cli.regularizers.mode_seeking import distance
from gan_cli.shapes import Examples, Latents

from ..conftest import TINY, TINY_MLP
from ..pairwise import every_third_quick
from ..values import examples, latents

Build = Callable[..., Experiment]
CPU = torch.device("cpu")
ONE = Gaussian(latent_dim=1)


class Identity(nn.Module):
    """A generator whose images are its latents, [batch, 1, 1, 1]."""

    def forward(self, codes: Tensor) -> Tensor:
        return codes[:, :, None, None]


class Ratio(nn.Module):
    """log of the density of N(mean, std^2) over that of N(0, 1): the optimal discriminator of the standard GAN."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        return (x.square() - ((x - self.mean) / self.std).square()) / 2 - math.log(self.std)


TARGET = (0.8, 0.6)
GAME = Game(Identity(), Ratio(*TARGET), StdGAN(saturating=False))


def real_images(count: int) -> Examples:
    return examples(torch.zeros(count, 1, 1, 1))


def evaluated(sampler: LatentSampler, codes: Tensor, real: Examples | None = None, game: Game = GAME) -> Tensor:
    """The codes that are scored in place of these draws of the prior."""
    return sampler.for_evaluation(game, latents(codes), real).codes


def agrees_with_the_target(codes: Tensor) -> bool:
    return stats.kstest(codes.flatten().numpy(), stats.norm(*TARGET).cdf).pvalue > 0.01


def test_the_test_can_fail() -> None:
    torch.manual_seed(0)
    assert not agrees_with_the_target(ONE.sample(2000, CPU))


# Priors


def test_truncated_normal_draws_are_normal_ones_within_the_threshold() -> None:
    torch.manual_seed(0)
    draws = TruncatedGaussian(latent_dim=4, threshold=0.7).sample(2000, CPU)
    assert draws.shape == (2000, 4)
    assert draws.abs().max() <= 0.7
    assert stats.kstest(draws.flatten().numpy(), stats.truncnorm(-0.7, 0.7).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (ONE, stats.norm()),
        (TruncatedGaussian(latent_dim=1, threshold=1.5), stats.truncnorm(-1.5, 1.5)),
        (Uniform(latent_dim=1), stats.uniform(-1, 2)),
    ],
    ids=["gaussian", "truncated", "uniform"],
)
def test_priors_know_their_density_and_width(prior: LatentSampler, law: Any) -> None:
    inside = torch.linspace(-0.9, 0.9, 7)[:, None]
    differences = prior.log_density(inside).diff().numpy()
    assert differences == pytest.approx(
        law.logpdf(inside.numpy()[:, 0])[1:] - law.logpdf(inside.numpy()[:, 0])[:-1], abs=1e-6
    )
    assert prior.half_width == law.support()[1]
    refined = AdvLatZ(prior=prior, steps=1, step_size=0.1, radius=None)
    assert refined.half_width == prior.half_width
    assert torch.equal(refined.log_density(inside), prior.log_density(inside))


# AdvLatGAN


def networks(experiment: Build, *overrides: str) -> Game:
    return experiment(*TINY, "regularizer=spectral_norm", "latent_dim=4", *overrides).game


@pytest.mark.parametrize("objective", ["stdgan", "lsgan", "hinge", "wgan_gp", "relativistic", "fgan", "realness"])
def test_the_search_fools_the_discriminator_and_leaves_nothing_behind(experiment: Build, objective: str) -> None:
    """In training mode: batch norm in the generator, spectral norm in the discriminator, anchors drawn at random."""
    still = ["objective.anchors=expected"] if objective == "realness" else []  # so that two losses can be compared
    game = networks(experiment, f"objective={objective}", *still)
    real, prior = examples(torch.rand(8, 1, 16, 16) * 2 - 1), Gaussian(latent_dim=4)
    sampler = AdvLatQua(prior=prior, steps=5, step_size=0.05, radius=None)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in (game.generator, game.discriminator)]
    torch.manual_seed(3)
    start, random = prior.sample(8, CPU), torch.get_rng_state()
    torch.manual_seed(3)
    found = sampler.for_discriminator(game, real)
    assert torch.equal(torch.get_rng_state(), random)
    for net, old in zip((game.generator, game.discriminator), before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())
    assert (found.codes - start).abs().max() <= 5 * 0.05 + 1e-6
    assert (found.codes - start).abs().max() >= 0.05 - 1e-6
    assert not found.codes.requires_grad
    with torch.no_grad():
        loss = game.generator_loss_against(real)
        assert loss(found) < loss(latents(start))


@pytest.mark.parametrize(("steps", "radius", "reach"), [(0, None, 0.0), (4, None, 0.4), (4, 0.25, 0.25)])
@pytest.mark.parametrize("kind", [AdvLatQua, AdvLatZ])
def test_steps_and_radius_hold(
    kind: type[AdvLatQua] | type[AdvLatZ], steps: int, radius: float | None, reach: float
) -> None:
    """The score of a linear critic is raised by as much as the ball allows."""
    game = Game(Identity(), nn.Sequential(nn.Flatten(), nn.Linear(1, 1)), Wasserstein())
    game.discriminator[1].weight.data.fill_(-2.0)
    sampler: LatentSampler = kind(prior=ONE, steps=steps, step_size=0.1, radius=radius)
    torch.manual_seed(0)
    start = ONE.sample(5, CPU)
    torch.manual_seed(0)
    if kind is AdvLatQua:
        found = sampler.for_discriminator(game, real_images(5)).codes
    else:
        found = evaluated(sampler, start, game=game)
    torch.testing.assert_close(found, start - reach)


def test_each_sampler_changes_only_what_is_its_own() -> None:
    real = real_images(6)
    search = {"steps": 2, "step_size": 0.1, "radius": None}
    qua, z = AdvLatQua(prior=ONE, **search), AdvLatZ(prior=ONE, **search)
    div = AdvLatDiv(prior=ONE, start_std=0.08, offset=0.0, **search)
    uses: dict[str, Callable[[LatentSampler], Tensor]] = {
        "discriminator": lambda sampler: sampler.for_discriminator(GAME, real).codes,
        "generator": lambda sampler: sampler.for_generator(GAME, real).codes,
        "evaluation": lambda sampler: evaluated(sampler, torch.ones(6, 1)),
    }
    plus = AdvLatZ(prior=qua, **search)
    for sampler, own in (
        (qua, {"discriminator"}),
        (z, {"evaluation"}),
        (div, {"generator"}),
        (plus, {"discriminator", "evaluation"}),
    ):
        changed = set()
        for name, use in uses.items():
            torch.manual_seed(0)
            plain = use(ONE)
            torch.manual_seed(0)
            if not torch.equal(use(sampler), plain):
                changed.add(name)
        assert changed == own, sampler


def test_only_objectives_that_compare_need_real_images_to_be_scored(experiment: Build) -> None:
    z = AdvLatZ(prior=ONE, steps=1, step_size=0.1, radius=None)
    needs = {
        choice: z.reads_real(experiment(*TINY, f"objective={choice}").game.objective)
        for choice in ("stdgan", "hinge", "realness", "relativistic")
    }
    assert needs == {"stdgan": False, "hinge": False, "realness": True, "relativistic": True}


def test_real_images_are_repeated_where_they_are_too_few() -> None:
    def numbered(count: int) -> Examples:
        return examples(torch.arange(float(count)).view(-1, 1, 1, 1), torch.arange(count))

    for few, count, rows in (
        (3, 3, [0, 1, 2]),
        (3, 7, [0, 0, 0, 1, 1, 2, 2]),
        (1000, 4, [0, 250, 500, 750]),  # sorted, as toy points are by mode: all of it has to be seen
    ):
        chosen = as_many(numbered(few), count)
        assert chosen.images.flatten().tolist() == rows
        assert chosen.labels.tolist() == rows


def test_a_search_without_real_images_is_one_that_no_objective_misses() -> None:
    z = AdvLatZ(prior=ONE, **TIGHT)
    start = torch.ones(4, 1)
    assert torch.equal(evaluated(z, start), evaluated(z, start, real_images(4)))
    comparing = Game(Identity(), Ratio(*TARGET), Relativistic(pairing="average", loss="standard"))
    with pytest.raises(ValueError, match="generator's loss of Relativistic reads real images"):
        evaluated(z, start, game=comparing)


def test_pairs_of_advlat_div_start_close_and_end_with_closer_images(experiment: Build) -> None:
    game = networks(experiment)
    prior, real = Gaussian(latent_dim=4), examples(torch.zeros(9, 1, 16, 16), torch.arange(9))
    before = {k: v.clone() for k, v in game.generator.state_dict().items()}

    def pairs(steps: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        div = AdvLatDiv(prior=prior, steps=steps, step_size=0.01, radius=0.03, start_std=0.08, offset=0.0)
        found = div.for_generator(game, real)
        assert found.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 8]  # a pair is of one class
        return found.codes.split([4, 5])

    torch.manual_seed(1)
    draws = prior.sample(9, CPU)
    (first, start), (same, found) = pairs(0), pairs(3)
    assert torch.equal(first, draws[:4])
    assert torch.equal(same, draws[:4])
    assert torch.equal(found[4:], draws[8:])  # the odd one out stays a prior draw
    start, found = start[:4], found[:4]
    assert (found - start).abs().max() <= 0.03 + 1e-6
    assert (start - first).std().item() == pytest.approx(0.08, rel=0.5)
    assert all(torch.equal(value, before[name]) for name, value in game.generator.state_dict().items())
    game.generator.train()
    with torch.no_grad():
        images = game.generator(first)
        ratios = [distance(game.generator(z), images) / distance(z, first) for z in (start, found)]
    assert ratios[1].mean() < ratios[0].mean()


def test_label_pairs_are_prior_draws_with_the_label_of_the_first() -> None:
    pairs, real = LabelPairs(prior=ONE), examples(torch.zeros(9, 1, 16, 16), torch.arange(9))
    torch.manual_seed(1)
    draws = ONE.sample(9, CPU)
    torch.manual_seed(1)
    found = pairs.for_generator(GAME, real)
    assert torch.equal(found.codes, draws)
    assert found.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 8]
    assert pairs.for_discriminator(GAME, real).labels.tolist() == list(range(9))


def test_starts_of_advlat_div_have_the_asked_deviation() -> None:
    torch.manual_seed(0)
    div = AdvLatDiv(prior=ONE, steps=0, step_size=0.01, radius=None, start_std=0.08, offset=1.0)
    first, second = div.for_generator(GAME, real_images(4000)).codes.chunk(2)
    assert (second - first).std().item() == pytest.approx(0.08, rel=0.05)
    assert (second - first).mean().item() == pytest.approx(0.0, abs=0.01)


# DDLS


def test_langevin_dynamics_reach_the_data() -> None:
    torch.manual_seed(0)
    sampler = DDLS(prior=ONE, steps=600, step_size=0.02, calibration="none")
    assert agrees_with_the_target(evaluated(sampler, ONE.sample(2000, CPU)))


def test_a_single_langevin_step_is_drift_and_noise() -> None:
    """z - epsilon / 2 grad E + sqrt(epsilon) n, with grad E = z - d'(z) = (z - mean) / std^2."""
    mean, std = TARGET
    torch.manual_seed(0)
    noise = torch.randn(5, 1)
    torch.manual_seed(0)
    start = torch.linspace(-1, 1, 5)[:, None]
    moved = evaluated(DDLS(prior=ONE, steps=1, step_size=0.01, calibration="none"), start)
    torch.testing.assert_close(moved, start - 0.005 * (start - mean) / std**2 + 0.1 * noise)


def test_a_bounded_prior_reflects() -> None:
    """With a discriminator that knows nothing, the uniform prior stays uniform."""
    blind = Game(Identity(), Ratio(0.0, 1.0), StdGAN(saturating=False))
    torch.manual_seed(0)
    prior = Uniform(latent_dim=1)
    sampler = DDLS(prior=prior, steps=50, step_size=0.1, calibration="none")
    codes = evaluated(sampler, prior.sample(2000, CPU), game=blind)
    assert stats.kstest(codes.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_reflection_folds_as_often_as_it_takes() -> None:
    outside = torch.tensor([[0.3, 1.2, -1.5, 3.25, -6.0]])
    torch.testing.assert_close(reflected(outside, 1.0), torch.tensor([[0.3, 0.8, -0.5, -0.75, 0.0]]))
    assert torch.equal(reflected(outside, math.inf), outside)


def test_a_prior_without_a_density_is_refused() -> None:
    class Odd(LatentSampler):
        def sample(self, count: int, device: torch.device) -> Tensor:
            return torch.zeros(count, 1)

    with pytest.raises(ValueError, match="does not say how dense"):
        DDLS(prior=Odd(), steps=1, step_size=0.1, calibration="none")


# Rejection and Metropolis-Hastings


def drs(**changes: Any) -> DRS:
    settings = {"percentile": None, "epsilon": 1e-8, "num_burn_in": 2000, "max_rounds": 100, "calibration": "none"}
    return DRS(prior=ONE, **(settings | changes))


def mh(**changes: Any) -> MH:
    return MH(prior=ONE, **({"chain_length": 60, "calibration": "none"} | changes))


@pytest.mark.parametrize("chain_length", [3, 60])  # with 3, some chains never move and start again
def test_chains_are_the_same_however_many_proposals_are_judged_at_once(chain_length: int) -> None:
    fitted = mh(chain_length=chain_length).fitted(GAME, REAL)
    assert isinstance(fitted, FittedMH)
    ends = []
    for at_once in (200, 500, 10_000):
        torch.manual_seed(0)
        ends.append(evaluated(replace(fitted, at_once=at_once), ONE.sample(200, CPU), REAL))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_small_images_pass_in_larger_numbers() -> None:
    assert [num_at_once(values, CPU) for values in (1, 2, 64, 256, 3072)] == [4096, 4096, 1024, 256, 256]
    assert [num_at_once(values, torch.device("meta")) for values in (2, 256, 784, 3072)] == [4096, 4096, 1280, 256]


REAL = examples(
    (TARGET[0] + TARGET[1] * torch.randn(3000, generator=torch.Generator().manual_seed(7))).view(-1, 1, 1, 1)
)


def test_rejection_sampling_reaches_the_data() -> None:
    torch.manual_seed(0)
    accepted = evaluated(drs(), ONE.sample(2000, CPU))
    assert accepted.shape == (2000, 1)
    assert agrees_with_the_target(accepted)


def test_rejection_is_by_the_sigmoid_of_f() -> None:
    """Without gamma and epsilon the chance is the density ratio over its highest value."""
    ratios = torch.tensor([-3.0, -1.0, 0.0, 1.9]).double()
    chance = drs().log_odds_of_acceptance(ratios, 2.0).sigmoid()
    torch.testing.assert_close(chance, (ratios - 2.0).exp(), rtol=1e-5, atol=0)
    shifted = drs(percentile=50.0).log_odds_of_acceptance(ratios, 2.0)
    torch.testing.assert_close(shifted.quantile(0.5), torch.tensor(0.0).double(), atol=1e-12, rtol=0)
    at_the_top = drs(epsilon=1e-3).log_odds_of_acceptance(torch.tensor([2.0]).double(), 2.0)
    assert at_the_top.item() == pytest.approx(-math.log(1 - math.exp(-1e-3)))


def test_a_percentile_accepts_more_and_less_exactly() -> None:
    torch.manual_seed(0)
    accepted = evaluated(drs(percentile=95.0), ONE.sample(2000, CPU))
    assert accepted.std() < TARGET[1]  # only the most real


def test_too_few_accepted_draws_are_filled_up_with_a_warning() -> None:
    torch.manual_seed(0)
    draws = ONE.sample(50, CPU)
    with pytest.warns(UserWarning, match="raise max_rounds or set a lower percentile"):
        filled = evaluated(drs(max_rounds=1), draws)
    assert filled.shape == (50, 1)
    assert set(filled.flatten().tolist()) <= set(draws.flatten().tolist())


def test_metropolis_hastings_reaches_the_data() -> None:
    torch.manual_seed(0)
    ended = evaluated(mh(), ONE.sample(2000, CPU), REAL)
    assert ended.shape == (2000, 1)
    assert agrees_with_the_target(ended)


@pytest.mark.parametrize("calibration", ["logistic", "isotonic"])
@pytest.mark.parametrize("make", [drs, mh])
def test_calibration_makes_up_for_a_distorted_score(make: Callable[..., LatentSampler], calibration: str) -> None:
    """The same log ratio, but squeezed and moved, as a critic's would be."""

    class Squeezed(Ratio):
        def forward(self, images: Tensor) -> Tensor:
            return 0.1 * super().forward(images) - 3.0

    game = Game(Identity(), Squeezed(*TARGET), Wasserstein())
    torch.manual_seed(0)
    sampler = make(calibration=calibration)
    codes = evaluated(sampler.fitted(game, REAL), ONE.sample(2000, CPU), REAL, game)
    mean, std = codes.mean().item(), codes.std().item()
    assert mean == pytest.approx(TARGET[0], abs=0.08)
    assert std == pytest.approx(TARGET[1], abs=0.08)


def test_chains_that_never_move_start_again_from_their_own_draw() -> None:
    """Real images that score far above anything the generator makes."""
    torch.manual_seed(0)
    draws = ONE.sample(400, CPU)
    ended = evaluated(mh(chain_length=30), draws, examples(torch.full((5, 1, 1, 1), 1.5)))
    far = Game(Identity(), Far(), StdGAN(saturating=False))
    torch.manual_seed(0)
    restarted = evaluated(mh(chain_length=30), draws, examples(torch.full((5, 1, 1, 1), 1000.0)), far)
    assert stats.kstest(restarted.flatten().numpy(), stats.norm(*TARGET).cdf).pvalue > 0.001
    assert ended.shape == restarted.shape


class Far(Ratio):
    def __init__(self) -> None:
        super().__init__(*TARGET)

    def forward(self, images: Tensor) -> Tensor:
        return torch.where(images.flatten(1) > 100, 1e6, super().forward(images))


def test_proposals_begin_with_the_prior_draws_that_are_given() -> None:
    always = Game(Identity(), Ratio(0.0, 1.0), StdGAN(saturating=False))  # every ratio is 1: every proposal accepted
    draws = ONE.sample(5, CPU)
    assert torch.equal(evaluated(mh(chain_length=1), draws, REAL, always), draws)


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_calibration_recovers_the_log_ratio(method: Any) -> None:
    torch.manual_seed(0)
    fake, scored = torch.randn(100_000), Ratio(*TARGET)
    real = TARGET[0] + TARGET[1] * torch.randn(100_000)
    ratios = [scored(x[:, None])[:, 0] for x in (real, fake)]
    fitted = calibrated(method, *(torch.tanh(r / 8) if method == "isotonic" else 5 * r + 2 for r in ratios))
    wanted = torch.linspace(-1.5, 0.6, 8)
    given = torch.tanh(wanted / 8) if method == "isotonic" else 5 * wanted + 2
    torch.testing.assert_close(fitted(given), wanted.double(), atol=0.15, rtol=0)


def test_isotonic_calibration_stays_finite_at_both_ends() -> None:
    log_ratio = calibrated("isotonic", torch.tensor([2.0, 3.0, 4.0]), torch.tensor([-1.0, 0.0]))
    ends = log_ratio(torch.tensor([-100.0, 100.0]))
    # no real and both fakes; all three reals and no fake; half an image of either kind added
    expected = [math.log(0.5 / 3.5) - math.log(2.5 / 2.5), math.log(3.5 / 3.5) - math.log(0.5 / 2.5)]
    torch.testing.assert_close(ends, torch.tensor(expected, dtype=torch.float64))


def test_a_score_that_falls_with_realness_counts_for_nothing() -> None:
    log_ratio = calibrated("logistic", torch.randn(500) - 2, torch.randn(500) + 2)
    values = log_ratio(torch.tensor([-3.0, 3.0]))
    assert values[0] == values[1]


def test_calibration_needs_real_images() -> None:
    with pytest.raises(ValueError, match="needs real images"):
        calibrated("isotonic", None, torch.zeros(3))
    with pytest.raises(ValueError, match="calibration=logistic needs real images"):
        DDLS(prior=ONE, steps=1, step_size=0.02, calibration="logistic").fitted(GAME, None)
    with pytest.raises(ValueError, match="chains start at real images"):
        mh().fitted(GAME, None)
    assert drs(calibration="logistic").reads_real(StdGAN(saturating=False))
    assert not drs().reads_real(StdGAN(saturating=False))
    assert mh().reads_real(StdGAN(saturating=False))


EVALUATION = [
    ["advlat_z", "latent_sampler.steps=2"],
    ["ddls", "latent_sampler.steps=2"],
    ["drs", "latent_sampler.num_burn_in=40"],
    ["mh", "latent_sampler.chain_length=3"],
    ["mh", "latent_sampler.chain_length=2", "latent_sampler@latent_sampler.prior=advlat_z"],
]


@pytest.mark.parametrize(
    ("sampler", "objective"),
    every_third_quick(product(EVALUATION, ["relativistic", "stdgan", "wgan_gp", "realness", "hinge"])),
    ids=lambda words: words if isinstance(words, str) else "-".join(words)[:30],
)
def test_every_evaluation_sampler_works_with_every_kind_of_objective(
    experiment: Build, objective: str, sampler: list[str]
) -> None:
    from gan_cli.evaluation import generate

    toy = [*TINY_MLP, "model=mlp", "dataset=grid3", "dataset.points_per_mode=8", "latent_dim=2"]
    choice, *settings = sampler
    tiny = experiment(*toy, f"objective={objective}", f"latent_sampler={choice}", *settings)
    real = tiny.gan.calibration(tiny.training_set)
    made = generate(tiny.gan, 10, 0, real, torch.float32)
    assert made.values.shape == (10, 2, 1, 1)
    assert made.values.isfinite().all()
    assert torch.equal(generate(tiny.gan, 3, 0, real, torch.float32).values, made.values[:3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TruncatedGaussian(latent_dim=1, threshold=0.0), "threshold=0.0"),
        (lambda: TruncatedGaussian(latent_dim=0, threshold=1.0), "latent_dim=0"),
        (lambda: AdvLatQua(prior=ONE, steps=-1, step_size=0.1, radius=None), "steps=-1"),
        (lambda: AdvLatZ(prior=ONE, steps=1, step_size=0.0, radius=None), "step_size=0.0"),
        (lambda: AdvLatZ(prior=ONE, steps=1, step_size=0.1, radius=0.0), "radius=0.0"),
        (
            lambda: AdvLatQua(prior=ONE, steps=1, step_size=0.1, radius=0.05),
            "radius=0.05 must be at least",
        ),
        (lambda: AdvLatDiv(prior=ONE, steps=1, step_size=0.1, radius=None, start_std=0.0, offset=0.0), "start_std"),
        (lambda: AdvLatDiv(prior=ONE, steps=1, step_size=0.1, radius=None, start_std=0.1, offset=-1.0), "offset"),
        (lambda: DDLS(prior=ONE, steps=-1, step_size=0.1, calibration="none"), "steps=-1"),
        (lambda: DDLS(prior=ONE, steps=1, step_size=0.0, calibration="none"), "step_size=0.0"),
        (lambda: drs(percentile=101.0), "percentile=101.0"),
        (lambda: drs(epsilon=0.0), "epsilon=0.0"),
        (lambda: drs(num_burn_in=0), "num_burn_in=0"),
        (lambda: drs(max_rounds=0), "max_rounds=0"),
        (lambda: mh(chain_length=0), "chain_length=0"),
    ],
)
def test_settings_out_of_range_are_named(make: Callable[[], LatentSampler], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Refinements of refinements


def moved(drawn: Latents, offset: float) -> Latents:
    return drawn.with_codes(drawn.codes + offset)


class Marked(Refinement):
    """Leaves another mark on the latents of each use."""

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return moved(super().for_discriminator(game, real), 100)

    def for_generator(self, game: Game, real: Examples) -> Latents:
        return moved(super().for_generator(game, real), 200)

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        return moved(latents, 300)

    def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
        return Marked(prior=ONE)

    def reads_real(self, objective: Any) -> bool:
        return True


MARKED, FLAT = Marked(prior=ONE), Game(Identity(), Ratio(0.0, 1.0), StdGAN(saturating=False))
TIGHT = {"steps": 1, "step_size": 0.1, "radius": None}


@pytest.mark.parametrize(
    "sampler",
    [
        AdvLatQua(prior=MARKED, **TIGHT),
        AdvLatZ(prior=MARKED, **TIGHT),
        AdvLatDiv(prior=MARKED, start_std=0.08, offset=0.0, **TIGHT),
        DDLS(prior=MARKED, steps=1, step_size=0.01, calibration="none"),
        DRS(prior=MARKED, percentile=None, epsilon=1e-8, num_burn_in=300, max_rounds=9, calibration="none"),
        MH(prior=MARKED, chain_length=3, calibration="none"),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_whatever_a_sampler_is_put_on_keeps_working_under_it(sampler: LatentSampler) -> None:
    """Every latent comes out near the mark of its use, also the ones that are proposed or fitted to."""
    real = real_images(257)
    torch.manual_seed(0)
    assert sampler.for_discriminator(FLAT, real).codes.sub(100).abs().max() < 20
    assert sampler.for_generator(FLAT, real).codes.sub(200).abs().max() < 20
    for fitted in (sampler, sampler.fitted(FLAT, real)):
        codes = evaluated(fitted, ONE.sample(257, CPU), real, FLAT)
        assert codes.shape == (257, 1)
        assert codes.sub(300).abs().max() < 20
        assert fitted.sample(3, CPU).abs().max() < 20
    assert sampler.reads_real(StdGAN(saturating=False))


def test_what_lies_under_a_refinement_is_fitted_too() -> None:
    class Fits(Marked):
        def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
            return AdvLatZ(prior=ONE, steps=0, step_size=0.1, radius=None)

    fitted = AdvLatQua(prior=Fits(prior=ONE), **TIGHT).fitted(FLAT, None)
    assert isinstance(fitted, AdvLatQua)
    assert isinstance(fitted.prior, AdvLatZ)


def test_every_round_of_rejection_draws_anew() -> None:
    torch.manual_seed(0)
    accepted = evaluated(drs(), ONE.sample(300, CPU))
    assert len(accepted.unique()) == 300


def test_those_that_fill_up_are_the_most_real() -> None:
    """Of one round, with a chance that accepts nearly nothing."""
    torch.manual_seed(0)
    draws = latents(ONE.sample(60, CPU))
    sampler = drs(max_rounds=1)
    fitted: Any = sampler.fitted(GAME, None)
    with pytest.warns(UserWarning, match="max_rounds"):
        filled = type(fitted)(
            prior=ONE, settings=sampler, log_ratio=fitted.log_ratio, highest=fitted.highest + 50
        ).for_evaluation(GAME, draws, None)
    scores = GAME.score(GAME.generate(filled))
    assert (scores.diff() <= 0).all()  # all of them, from the most real down


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_unequal_numbers_of_real_and_generated_images_weigh_the_same(method: Any) -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(40_000) + 1, torch.randn(40_000)  # log ratio: score - 1/2
    given, wanted = torch.tensor([-0.5, 0.5, 1.5]), torch.tensor([-1.0, 0.0, 1.0]).double()
    for few in (real[:4000], real):
        torch.testing.assert_close(calibrated(method, few, fake)(given), wanted, atol=0.2, rtol=0)


def test_isotonic_calibration_never_falls() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        log_ratio = calibrated("isotonic", torch.randn(200) + 1, torch.randn(200))
        assert (log_ratio(torch.linspace(-5, 5, 400)).diff() >= 0).all()


def test_the_offset_of_advlat_div_counts_against_small_distances() -> None:
    """d_I / (d_z + offset) of G(z) = z: constant for no offset, so nothing moves; else pairs are drawn together."""
    real = real_images(400)
    for offset, moves in ((0.0, False), (1.0, True)):
        ends = []
        for steps in (0, 1):
            torch.manual_seed(0)
            div = AdvLatDiv(prior=ONE, steps=steps, step_size=0.001, radius=None, start_std=0.08, offset=offset)
            first, second = div.for_generator(GAME, real).codes.chunk(2)
            ends.append((second - first).abs().mean().item())
        assert (ends[1] < ends[0] - 0.0005) == moves


@pytest.mark.parametrize("prior", [Uniform(latent_dim=1), TruncatedGaussian(latent_dim=1, threshold=1.0)])
def test_searches_stay_where_the_prior_can_be(prior: LatentSampler) -> None:
    game = Game(Identity(), nn.Sequential(nn.Flatten(), nn.Linear(1, 1)), Wasserstein())
    game.discriminator[1].weight.data.fill_(1.0)
    search: dict[str, Any] = {"steps": 50, "step_size": 0.1, "radius": None}
    real = real_images(20)
    for codes in (
        AdvLatQua(prior=prior, **search).for_discriminator(game, real).codes,
        evaluated(AdvLatZ(prior=prior, **search), prior.sample(20, CPU), game=game),
    ):
        torch.testing.assert_close(codes, torch.ones(20, 1))
    pairs = AdvLatDiv(prior=prior, start_std=3.0, offset=1.0, **search).for_generator(game, real)
    assert pairs.codes.abs().max() <= 1.0


def test_a_calibrated_ddls_makes_up_for_a_squeezed_score() -> None:
    class Squeezed(Ratio):
        def forward(self, images: Tensor) -> Tensor:
            return 0.1 * super().forward(images) - 3.0

    game = Game(Identity(), Squeezed(*TARGET), Wasserstein())
    torch.manual_seed(0)
    results = []
    for calibration in ("none", "logistic"):
        sampler = DDLS(prior=ONE, steps=400, step_size=0.02, calibration=calibration)  # type: ignore[arg-type]
        results.append(evaluated(sampler.fitted(game, REAL), ONE.sample(2000, CPU), REAL, game))
    assert results[0].mean().item() < 0.4  # the prior wins
    assert results[1].mean().item() == pytest.approx(TARGET[0], abs=0.08)
    assert results[1].std().item() == pytest.approx(TARGET[1], abs=0.08)
    assert DDLS(prior=ONE, steps=1, step_size=1.0, calibration="logistic").reads_real(StdGAN(saturating=False))


def test_searches_of_different_turns_see_different_noise(experiment: Build) -> None:
    seen = []

    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(torch.rand(()).item())
            return images.flatten(1).sum(1, keepdim=True)

    game = Game(Identity(), Noisy(), Wasserstein())
    for _ in range(3):
        AdvLatQua(prior=ONE, **TIGHT).for_discriminator(game, real_images(4))
    assert len(set(seen)) == 3


# Labels


@pytest.mark.parametrize(
    "sampler",
    [
        ONE,
        AdvLatQua(prior=ONE, **TIGHT),
        AdvLatZ(prior=ONE, **TIGHT),
        DDLS(prior=ONE, steps=2, step_size=0.01, calibration="logistic"),
        MH(prior=ONE, chain_length=3, calibration="logistic"),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_latents_keep_the_labels_that_were_asked_for(sampler: LatentSampler) -> None:
    real = examples(REAL.images[:7], torch.tensor([4, 4, 0, 1, 2, 9, 4]))
    wanted = latents(ONE.sample(5, CPU), torch.tensor([3, 1, 4, 1, 5]))
    torch.manual_seed(0)
    assert torch.equal(sampler.for_discriminator(GAME, real).labels, real.labels)
    assert torch.equal(sampler.for_generator(GAME, real).labels, real.labels)
    assert torch.equal(sampler.fitted(GAME, real).for_evaluation(GAME, wanted, real).labels, wanted.labels)


@pytest.mark.parametrize("max_rounds", [100, 1])
@pytest.mark.filterwarnings("ignore:rejection sampling accepted")
def test_every_row_keeps_its_label(max_rounds: int) -> None:
    """Codes say their label: image n has the label that was asked for, also where the rejected fill up."""

    class Tagged(LatentSampler):
        """A draw that the evaluation pins to its label, so that the two can be compared afterwards."""

        def sample(self, count: int, device: torch.device) -> Tensor:
            return torch.randn(count, 1)

        def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
            return latents.with_codes(latents.codes.clamp(-0.4, 0.4) + latents.labels[:, None])

    torch.manual_seed(0)
    labels = torch.arange(3).repeat(40)
    sampler = DRS(
        prior=Tagged(), percentile=80.0, epsilon=1e-8, num_burn_in=200, max_rounds=max_rounds, calibration="none"
    )
    accepted = sampler.for_evaluation(GAME, latents(torch.randn(120, 1), labels), None)
    assert torch.equal(accepted.labels, labels)
    assert torch.equal(accepted.codes.round().flatten().long(), labels)
