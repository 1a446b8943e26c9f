"""f-GAN against its divergences on discrete distributions, the definition of the conjugate, and extreme logits."""

import itertools
import math
import typing

import pytest
import torch
from torch import Tensor

from gan_cli.objectives import FGAN, StdGAN
from gan_cli.objectives.fgan import DIVERGENCES, Name, bounded_exp, log1mexp, log_softplus

PI = 0.3
P = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
Q = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)

# f of Tables 1 and 4 of the paper, and the threshold f'(1)
GENERATORS = {
    "kl": (lambda u: u * u.log(), 1.0),
    "reverse_kl": (lambda u: -u.log(), -1.0),
    "pearson": (lambda u: (u - 1) ** 2, 0.0),
    "neyman": (lambda u: (1 - u) ** 2 / u, 0.0),
    "squared_hellinger": (lambda u: (u.sqrt() - 1) ** 2, 0.0),
    "jeffrey": (lambda u: (u - 1) * u.log(), 0.0),
    "jensen_shannon": (lambda u: -(u + 1) * ((1 + u) / 2).log() + u * u.log(), 0.0),
    "jensen_shannon_weighted": (lambda u: PI * u * u.log() - (1 - PI + PI * u) * (1 - PI + PI * u).log(), 0.0),
    "gan": (lambda u: u * u.log() - (u + 1) * (u + 1).log(), -math.log(2)),
    "total_variation": (lambda u: (u - 1).abs() / 2, 0.0),
}
ALPHAS = (-0.7, 0.3, 0.6, 1.5, 3.0)
CASES = [(name, 0.5) for name in GENERATORS] + [("alpha", alpha) for alpha in ALPHAS]


def objective(name: str, alpha: float = 0.5, saturating: bool = False) -> FGAN:
    return FGAN(divergence=name, saturating=saturating, alpha=alpha, pi=PI)  # type: ignore[arg-type]


def f(name: str, alpha: float, u: Tensor) -> Tensor:
    if name == "alpha":
        return (u**alpha - 1 - alpha * (u - 1)) / (alpha * (alpha - 1))
    return GENERATORS[name][0](u)


def test_eleven_divergences_are_offered() -> None:
    assert set(DIVERGENCES) == set(typing.get_args(Name)) == {*GENERATORS, "alpha"}


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_a_trained_table_of_logits_reaches_the_divergence(name: str, alpha: float) -> None:
    """Minimising `discriminator_loss` over a free logit for each atom ends at -D_f(P || Q)."""
    rows_real, rows_fake = (torch.arange(3).repeat_interleave((weights * 20).round().long()) for weights in (P, Q))
    table = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = objective(name, alpha).discriminator_loss(table[rows_real], table[rows_fake])
        value.backward()
        return value.item()

    optimizer.step(loss)
    assert -loss() == pytest.approx((Q * f(name, alpha, P / Q)).sum().item(), abs=1e-6)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_the_composite_is_the_conjugate_of_the_activation(name: str, alpha: float) -> None:
    """c(v) = f*(g(v)) = sup over u of u g(v) - f(u), by brute force."""
    formulas = DIVERGENCES[name](objective(name, alpha))
    v = torch.linspace(-0.4, 1.5, 39, dtype=torch.float64)
    t, u = formulas.activation(v), torch.logspace(-7, 7, 400_001, dtype=torch.float64)
    brute = torch.stack([(u * value - f(name, alpha, u)).max() for value in t])
    torch.testing.assert_close(formulas.composite(v), brute, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_equal_distributions_have_the_divergence_of_f_at_one(name: str, alpha: float) -> None:
    expected = f(name, alpha, torch.ones((), dtype=torch.float64)).item()
    assert objective(name, alpha).equilibrium_loss() == pytest.approx(-expected, abs=1e-12)


@pytest.mark.parametrize(("name", "alpha"), [case for case in CASES if case[0] != "total_variation"])  # f has a corner
def test_the_threshold_between_real_and_fake_is_the_slope_of_f_at_one(name: str, alpha: float) -> None:
    """At p = q the loss is stationary in the one logit whose activation is f'(1)."""
    threshold = 0.0 if name == "alpha" else GENERATORS[name][1]
    v = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([v], max_iter=500, tolerance_grad=1e-14, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = objective(name, alpha).discriminator_loss(v, v)
        value.backward()
        return value.item()

    optimizer.step(loss)
    assert DIVERGENCES[name](objective(name, alpha)).activation(v).item() == pytest.approx(threshold, abs=1e-5)


@pytest.mark.parametrize(("name", "alpha"), [*CASES, ("alpha", 0.9999)])
def test_the_undecided_score_is_where_the_activation_is_that_threshold(name: str, alpha: float) -> None:
    threshold = 0.0 if name == "alpha" else GENERATORS[name][1]
    undecided = torch.tensor(objective(name, alpha).undecided_score(), dtype=torch.float64)
    activation = DIVERGENCES[name](objective(name, alpha)).activation(undecided)
    assert activation.item() == pytest.approx(threshold, abs=1e-11)


@pytest.mark.parametrize("saturating", [True, False])
def test_gan_is_the_standard_gan(saturating: bool) -> None:
    real, fake = torch.linspace(-30, 30, 7).double()[:, None], torch.linspace(-20, 40, 7).double()[:, None]
    ours, standard = objective("gan", saturating=saturating), StdGAN(saturating=saturating)
    torch.testing.assert_close(ours.discriminator_loss(real, fake), standard.discriminator_loss(real, fake))
    torch.testing.assert_close(ours.generator_loss(None, fake), standard.generator_loss(None, fake))


def test_jensen_shannon_is_gan_up_to_a_constant() -> None:
    real, fake = torch.randn(5, 1).double(), torch.randn(5, 1).double()
    for saturating in (True, False):
        js, gan = objective("jensen_shannon", saturating=saturating), objective("gan", saturating=saturating)
        difference = js.discriminator_loss(real, fake) - gan.discriminator_loss(real, fake)
        torch.testing.assert_close(difference, torch.tensor(-2 * math.log(2)).double())


def test_the_generator_minimises_the_bound_or_the_activation() -> None:
    fake = torch.linspace(-1, 1, 5).double()[:, None]
    for name, alpha in CASES:
        formulas = DIVERGENCES[name](objective(name, alpha))
        loss = objective(name, alpha, saturating=True).generator_loss(None, fake)
        torch.testing.assert_close(loss, -formulas.composite(fake).mean())
        loss = objective(name, alpha, saturating=False).generator_loss(None, fake)
        torch.testing.assert_close(loss, -formulas.activation(fake).mean())


@pytest.mark.parametrize(("name", "alpha"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite_and_point_the_right_way(name: str, alpha: float, dtype: torch.dtype) -> None:
    """Losses, gradients and their squares are finite for logits from -80 to 80; raising a real logit never hurts."""
    logits = torch.linspace(-80, 80, 1601, dtype=dtype)[:, None].requires_grad_(True)
    for saturating, turn in itertools.product((True, False), ("discriminator", "generator")):
        ours = objective(name, alpha, saturating)
        if turn == "discriminator":
            loss = ours.discriminator_loss(logits, logits.detach())
        else:
            loss = ours.generator_loss(None, logits)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.square().isfinite().all()
        if not (name == "pearson" and saturating and turn == "generator"):  # its conjugate, the paper's, turns at -2
            assert (gradient <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_are_exact_until_they_go_on_as_straight_lines(dtype: torch.dtype) -> None:
    limit = math.log(torch.finfo(dtype).max) / 3
    below = torch.linspace(-80, limit, 50, dtype=dtype)
    torch.testing.assert_close(bounded_exp(below), below.exp(), rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=0)
    beyond = torch.tensor([limit, limit + 1, limit + 3], dtype=dtype, requires_grad=True)
    values = bounded_exp(beyond) / math.exp(limit)
    torch.testing.assert_close(values.detach(), torch.tensor([1.0, 2.0, 4.0], dtype=dtype), rtol=1e-4, atol=0)
    (slope,) = torch.autograd.grad(bounded_exp(beyond).sum(), beyond)
    torch.testing.assert_close(slope[1:] / math.exp(limit), torch.ones(2, dtype=dtype), rtol=1e-4, atol=0)


def test_logarithms_hold_their_precision() -> None:
    v = torch.tensor([-700.0, -80.0, -30.5, -29.5, -1.0, 0.0, 5.0, 80.0], dtype=torch.float64)
    expected = [-700.0, -80.0] + [math.log(math.log1p(math.exp(x))) for x in (-30.5, -29.5, -1.0, 0.0, 5.0)]
    torch.testing.assert_close(
        log_softplus(v)[:-1], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )
    assert log_softplus(v)[-1].item() == pytest.approx(math.log(80.0))
    a = torch.tensor([1e-200, 1e-14, 1e-13, 0.3, 0.69, 0.7, 20.0], dtype=torch.float64)
    expected = [math.log(-math.expm1(-x)) for x in a.tolist()]
    torch.testing.assert_close(log1mexp(a.log()), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_gradients_are_those_of_the_losses(name: str, alpha: float) -> None:
    v = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None].requires_grad_(True)
    if alpha == 3.0:
        v = (v.detach() + 2.7).requires_grad_(True)  # away from the corner at -1 / (alpha - 1)
    for half in DIVERGENCES[name](objective(name, alpha))[:2]:
        assert torch.autograd.gradcheck(half, (v,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence": "alpha", "alpha": 1.0}, "use divergence=kl"),
        ({"divergence": "alpha", "alpha": 0.0}, "use divergence=reverse_kl"),
        ({"divergence": "jensen_shannon_weighted", "pi": 1.0}, "pi=1.0"),
        ({"divergence": "jensen_shannon_weighted", "pi": 0.0}, "pi=0.0"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, typing.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FGAN(**({"saturating": False, "alpha": 0.5, "pi": 0.5} | settings))


@pytest.mark.parametrize(("name", "v"), [("total_variation", -15.0), ("jensen_shannon_weighted", -15.0)])
def test_small_gradients_are_not_rounded_away(name: str, v: float) -> None:
    logits = torch.tensor([[v]], requires_grad=True)  # float32
    double = logits.detach().double().requires_grad_(True)
    gradients = []
    for value in (logits, double):
        loss = objective(name, saturating=True).generator_loss(None, value)
        gradients.append(torch.autograd.grad(loss, value)[0].item())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)
    assert gradients[0] != 0
