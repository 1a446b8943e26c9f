"""How far a Gaussian that was fitted to a mixture on a line is from the best one, in each f-divergence, by quadrature.

The table of f-GAN's section 2.4 (Nowozin et al. 2016, arXiv:1606.00709).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Lt
from scipy.integrate import simpson
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.metrics.metrics import Direction, Metrics, Protocol, Scorer, Subject

Logs = np.ndarray
Integrand = Callable[[Logs, Logs], np.ndarray]  # of log p and log q, whose integral is the divergence of P from Q
NUM_NODES = 20_001
REACH = 12.0  # standard deviations beyond the outermost means


def divided(p: Logs, q: Logs, share: float) -> np.ndarray:
    """`share` KL(P || M) + (1 - share) KL(Q || M), where M is the mixture with these shares."""
    m = np.logaddexp(math.log(share) + p, math.log(1 - share) + q)
    return share * np.exp(p) * (p - m) + (1 - share) * np.exp(q) * (q - m)


def integrands(alpha: float, pi: float) -> dict[str, Integrand]:
    """By the names of the divergences that `objective=fgan` trains; `gan` is the Jensen-Shannon divergence there, too.

    In the units of the paper's Tables 1 and 4, where the Jensen-Shannon divergence is twice what others call so.
    """
    return {
        "kl": lambda p, q: np.exp(p) * (p - q),
        "reverse_kl": lambda p, q: np.exp(q) * (q - p),
        "pearson": lambda p, q: np.exp(2 * p - q) - 2 * np.exp(p) + np.exp(q),
        "neyman": lambda p, q: np.exp(2 * q - p) - 2 * np.exp(q) + np.exp(p),
        "squared_hellinger": lambda p, q: (np.exp(p / 2) - np.exp(q / 2)) ** 2,
        "jeffrey": lambda p, q: (np.exp(p) - np.exp(q)) * (p - q),
        "jensen_shannon": lambda p, q: 2 * divided(p, q, 0.5),
        "jensen_shannon_weighted": lambda p, q: divided(p, q, pi),
        "gan": lambda p, q: 2 * divided(p, q, 0.5),
        "total_variation": lambda p, q: np.abs(np.exp(p) - np.exp(q)) / 2,
        "alpha": lambda p, q: (
            (np.exp(alpha * p + (1 - alpha) * q) - alpha * np.exp(p) - (1 - alpha) * np.exp(q)) / (alpha * (alpha - 1))
        ),
    }


@dataclass(frozen=True, kw_only=True)
class GaussianFit(Metrics):
    """`alpha` and `pi` are those of the divergences `alpha` and `jensen_shannon_weighted`."""

    alpha: float
    pi: Annotated[float, Gt(0), Lt(1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha in (0, 1):
            raise ValueError(f"alpha={self.alpha} is a limit: kl and reverse_kl have scores of their own")

    def against(self, training_set: TrainingSet, num_fake: int) -> "GaussianFitScorer":
        modes = training_set.modes
        if modes is None or modes.centers.shape[1] != 1:
            raise ValueError("a Gaussian is fitted to a mixture on a line: use dataset=line")
        mixture = Mixture1D(modes.centers[:, 0].double().numpy(), modes.std, modes.weights.double().numpy())
        return GaussianFitScorer(mixture, integrands(self.alpha, self.pi), training_set.values, self.alpha, self.pi)


@dataclass(frozen=True)
class Mixture1D:
    """The data's law, with a Gaussian's divergence from it."""

    means: np.ndarray
    std: float
    weights: np.ndarray

    @cached_property
    def nodes(self) -> np.ndarray:
        reach = REACH * max(self.std, float(self.means.std()))
        return np.linspace(self.means.min() - reach, self.means.max() + reach, NUM_NODES)

    @cached_property
    def log_density(self) -> Logs:
        each = [normal(self.nodes, mean, self.std) for mean in self.means]
        return logsumexp(each, axis=0, b=self.weights[:, None])

    def divergence(self, integrand: Integrand, mean: float, std: float) -> float:
        """By Simpson's rule; a divergence that is infinite is very large."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = integrand(self.log_density, normal(self.nodes, mean, std))
        return float(simpson(np.nan_to_num(values, nan=0.0, posinf=1e100), x=self.nodes))

    def best(self, integrand: Integrand) -> tuple[float, float, float]:
        """The mean and standard deviation that minimise the divergence, and the minimum, from several starts."""
        whole = float(self.weights @ self.means)
        spread = math.sqrt(self.std**2 + float(self.weights @ (self.means - whole) ** 2))
        starts = [(whole, spread), *((float(mean), self.std) for mean in self.means)]
        found = [
            minimize(
                lambda at: self.divergence(integrand, at[0], math.exp(at[1])),
                [mean, math.log(std)],
                method="Nelder-Mead",
                options={"xatol": 1e-6, "fatol": 1e-12},
            )
            for mean, std in starts
        ]
        least = min(found, key=lambda one: one.fun)
        return float(least.x[0]), math.exp(least.x[1]), float(least.fun)


def normal(x: np.ndarray, mean: float, std: float) -> Logs:
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class GaussianFitScorer(Scorer):
    mixture: Mixture1D
    integrands: Mapping[str, Integrand]
    real: Tensor
    alpha: float
    pi: float

    leading = "excess_jensen_shannon"
    headlines = ("excess_jensen_shannon",)

    @property
    def directions(self) -> dict[str, Direction]:  # type: ignore[override]
        return {f"excess_{name}": "lower" for name in self.integrands}

    @property
    def protocol(self) -> Protocol:
        return {"num_real": len(self.real), "divergence_alpha": self.alpha, "divergence_pi": self.pi}

    @cached_property
    def best(self) -> dict[str, tuple[float, float, float]]:
        return {name: self.mixture.best(integrand) for name, integrand in self.integrands.items()}

    def score(self, subject: Subject) -> dict[str, float]:
        """`excess_<divergence>`: the divergence of the data from the points' Gaussian, as a share above the least one.

        `fitted_mean` and `fitted_std` are that Gaussian.
        """
        return self.fit(subject.images)

    def fit(self, points: Tensor) -> dict[str, float]:
        values = points.flatten().double()
        mean, std = values.mean().item(), max(values.std().item(), torch.finfo(torch.float32).eps)
        excess = {
            f"excess_{name}": self.mixture.divergence(integrand, mean, std) / self.best[name][2] - 1
            for name, integrand in self.integrands.items()
        }
        leading = {self.leading: excess[self.leading]}
        return leading | excess | {"fitted_mean": mean, "fitted_std": std}

    def floor(self) -> dict[str, float]:
        """Empty: a mixture is not a Gaussian."""
        return {}
