"""f-GAN: variational divergence minimisation (Nowozin et al. 2016, arXiv:1606.00709)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss


class Divergence(NamedTuple):
    """D_f(P || Q) = sup over v of E_P g(v) - E_Q c(v), from a raw output v of the discriminator.

    `activation` is g, the output activation of Tables 2 and 6; `composite` is c = f*(g(v)), where f* is the Fenchel
    conjugate of f, composed so that neither overflows before their composition does. `value_at_one` is f(1), the
    divergence of a distribution from itself. `undecided` is where g is f'(1), the best output where P and Q are equally
    likely (section 3.2).
    """

    activation: Callable[[Tensor], Tensor]
    composite: Callable[[Tensor], Tensor]
    value_at_one: float = 0.0
    undecided: float = 0.0


def bounded_exp(exponent: Tensor) -> Tensor:
    """exp, continued as a straight line beyond a third of the exponents that the dtype can hold (29 in float32).

    The gradient goes on pointing the right way, and its square, which Adam keeps, and sums of both stay finite.
    """
    limit = math.log(torch.finfo(exponent.dtype).max) / 3
    return exponent.clamp(max=limit).exp() * (1 + (exponent - limit).clamp(min=0))


def log_softplus(value: Tensor) -> Tensor:
    """log(log(1 + exp(value))): `value` itself, less a vanishing exp(value) / 2, where softplus would underflow."""
    small = value < -30
    return torch.where(small, value, softplus(torch.where(small, 0.0, value)).log())


def inverse_softplus(value: float) -> float:
    return value + math.log1p(-math.exp(-value))


def log1mexp(log_value: Tensor) -> Tensor:
    """log(1 - exp(-a)) from log(a), precise, with its gradient, for small and for large a.

    Below log(a) = -30 it is log(a) itself, less a vanishing a / 2.
    """
    tiny, small = log_value < -30, log_value < math.log(math.log(2))
    value = torch.where(tiny, 0.0, log_value).exp()
    below = (-torch.expm1(-torch.where(small, value, 1.0))).log()
    above = torch.log1p(-torch.exp(-torch.where(small, 1.0, value)))
    return torch.where(tiny, log_value, torch.where(small, below, above))


def jeffrey_conjugate(t: Tensor) -> Tensor:
    """w + 1/w + t - 2, where w = W(exp(1 - t)), Lambert's function, solves w + log w = 1 - t.

    Newton's iteration finds s = log w; the last one is differentiated, which is exact by the implicit function theorem.
    """
    right = 1 - t
    with torch.no_grad():
        s = torch.where(right < 1, right, right.clamp(min=1).log())
        for _ in range(8):  # from these starts six reach float64's precision everywhere
            s = s - (s + s.exp() - right) / (1 + s.exp())
    s = s - (s + s.exp() - right) / (1 + s.exp())
    return s.exp() + bounded_exp(-s) + t - 2


def jensen_shannon_weighted(pi: float) -> Divergence:
    return Divergence(
        lambda v: -pi * math.log(pi) - softplus(-v),
        lambda v: (1 - pi) * (math.log(1 - pi) - log1mexp(log_softplus(-v) - math.log(pi))),
        undecided=-inverse_softplus(-pi * math.log(pi)),
    )


def alpha_below_one(alpha: float) -> Divergence:
    def composite(v: Tensor) -> Tensor:
        return (bounded_exp(alpha / (alpha - 1) * (math.log(1 - alpha) + log_softplus(-v))) - 1) / alpha

    limit = 1 / (1 - alpha)
    return Divergence(lambda v: limit - softplus(-v), composite, undecided=-inverse_softplus(limit))


def alpha_above_one(alpha: float) -> Divergence:
    def composite(v: Tensor) -> Tensor:
        base = (alpha - 1) * v + 1
        inside = base > 0  # below, the conjugate is constant
        power = bounded_exp(alpha / (alpha - 1) * torch.where(inside, base, 1.0).log())
        return (torch.where(inside, power, 0.0) - 1) / alpha

    return Divergence(lambda v: v, composite)


# tanh(v) / 2, written so that its gradient does not round to zero for very negative v
total_variation = Divergence(lambda v: torch.sigmoid(2 * v) - 0.5, lambda v: torch.sigmoid(2 * v) - 0.5)

DIVERGENCES: dict[str, Callable[["FGAN"], Divergence]] = {
    "kl": lambda _: Divergence(lambda v: v, lambda v: bounded_exp(v - 1), undecided=1.0),
    "reverse_kl": lambda _: Divergence(lambda v: -bounded_exp(-v), lambda v: v - 1),
    # the paper's conjugate; the exact one, of f on positive numbers only, is -1 for v < -2
    "pearson": lambda _: Divergence(lambda v: v, lambda v: v.square() / 4 + v),
    "neyman": lambda _: Divergence(lambda v: 1 - bounded_exp(-v), lambda v: 2 - 2 * bounded_exp(-v / 2)),
    "squared_hellinger": lambda _: Divergence(lambda v: 1 - bounded_exp(-v), lambda v: bounded_exp(v) - 1),
    "jeffrey": lambda _: Divergence(lambda v: v, jeffrey_conjugate),
    "jensen_shannon": lambda _: Divergence(lambda v: math.log(2) - softplus(-v), lambda v: softplus(v) - math.log(2)),
    "jensen_shannon_weighted": lambda objective: jensen_shannon_weighted(objective.pi),
    # twice the Jensen-Shannon divergence less 2 log 2, because its f(1) is not 0
    "gan": lambda _: Divergence(lambda v: -softplus(-v), softplus, value_at_one=-2 * math.log(2)),
    "total_variation": lambda _: total_variation,
    "alpha": lambda objective: (alpha_above_one if objective.alpha > 1 else alpha_below_one)(objective.alpha),
}

Name = Literal[
    "kl",
    "reverse_kl",
    "pearson",
    "neyman",
    "squared_hellinger",
    "jeffrey",
    "jensen_shannon",
    "jensen_shannon_weighted",
    "gan",
    "total_variation",
    "alpha",
]


@dataclass(frozen=True, kw_only=True)
class FGAN(Objective):
    """Minimises an f-divergence of data P from generated images Q through its variational bound (equation 6).

    The generator minimises the bound itself where `saturating`, else -g of its images (section 3.2). `alpha` and `pi`
    are read by the divergences of the same name alone: `alpha` may be any number but 0 and 1, which are the KL
    divergences, and `pi`, the weight of P, is in (0, 1); other values raise ValueError.

    Exponentials are continued as straight lines where they or the squares of their gradients would overflow.
    """

    divergence: Name
    saturating: bool
    alpha: float
    pi: float

    generator_reads_real = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence == "alpha" and self.alpha in (0, 1):
            limit = "kl" if self.alpha == 1 else "reverse_kl"
            raise ValueError(f"alpha={self.alpha} is a limit of its own: use divergence={limit}")
        if self.divergence == "jensen_shannon_weighted" and not 0 < self.pi < 1:
            raise ValueError(f"pi={self.pi} must be above 0 and below 1")

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        formulas = DIVERGENCES[self.divergence](self)
        return formulas.composite(fake_logits).mean() - formulas.activation(real_logits).mean()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        formulas = DIVERGENCES[self.divergence](self)
        return -(formulas.composite if self.saturating else formulas.activation)(fake_logits).mean()

    def undecided_score(self) -> float:
        return DIVERGENCES[self.divergence](self).undecided

    def equilibrium_loss(self) -> float:
        """The bound is tight for the best discriminator, and D_f(P || P) = f(1)."""
        return 0.0 - DIVERGENCES[self.divergence](self).value_at_one

    def perfect_loss(self) -> float | None:
        """The limit of the bound, where it has one: minus the divergence of distributions that share nothing."""
        far, farther = (torch.full((1, 1), v, dtype=torch.float64) for v in (200.0, 400.0))
        limit, beyond = (self.discriminator_loss(v, -v).item() for v in (far, farther))
        return limit if math.isclose(limit, beyond, rel_tol=1e-6, abs_tol=1e-6) else None
