"""Paths between codes, and the quantiles of priors, in closed form."""

import math

import pytest
import torch
from scipy import stats

from gan_cli.latent_samplers import Gaussian, LatentSampler, TruncatedGaussian, Uniform


def test_a_gaussian_path_keeps_the_length_of_its_codes() -> None:
    torch.manual_seed(0)
    prior = Gaussian(latent_dim=200)
    start, end = torch.randn(2, 3, 200, dtype=torch.float64)
    at = torch.linspace(0, 1, 9, dtype=torch.float64)
    path = prior.between(start, end, at)
    assert torch.equal(path[:, 0], start)
    assert torch.equal(path[:, -1], end)
    unit = torch.eye(200, dtype=torch.float64)[:2]
    quarter = prior.between(unit[:1], unit[1:], at)[0]
    expected = torch.stack([(at * math.pi / 2).cos(), (at * math.pi / 2).sin()], dim=1)
    assert torch.allclose(quarter[:, :2], expected, atol=1e-12)
    straight = Uniform(latent_dim=200).between(start, end, at)
    assert torch.allclose(straight[:, 4], (start + end) / 2)
    shorter = torch.minimum(start.norm(dim=1), end.norm(dim=1))
    assert (path.norm(dim=2) > 0.95 * shorter[:, None]).all()
    assert (straight[:, 4].norm(dim=1) < 0.85 * shorter).all()
    assert torch.allclose(prior.between(start, 2 * start, at)[:, 4], 1.5 * start)  # parallel: no arc
    assert prior.between(start, -start, at).isfinite().all()


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (Gaussian(latent_dim=1), stats.norm()),
        (Uniform(latent_dim=1), stats.uniform(-1, 2)),
        (TruncatedGaussian(latent_dim=1, threshold=1.5), stats.truncnorm(-1.5, 1.5)),
    ],
    ids=["gaussian", "uniform", "truncated"],
)
def test_quantiles_invert_the_distribution_function(
    prior: Gaussian | Uniform | TruncatedGaussian, law: "stats.rv_continuous"
) -> None:
    levels = (torch.arange(99, dtype=torch.float64) + 0.5) / 99
    torch.testing.assert_close(torch.from_numpy(law.cdf(prior.quantile(levels))), levels, rtol=0, atol=1e-12)


def test_a_prior_without_quantiles_says_so() -> None:
    class Odd(LatentSampler):
        def sample(self, count: int, device: torch.device) -> torch.Tensor:
            return torch.zeros(count, 2, device=device)

    with pytest.raises(ValueError, match="Odd does not say where the quantiles"):
        Odd().quantile(torch.rand(2))
