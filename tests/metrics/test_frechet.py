"""The Frechet distance is torch-fidelity's, for covariances of any rank, and a closed form's."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gan_cli.metrics import frechet
from gan_cli.metrics.frechet import Moments, frechet_distance

from ..values import subject
from .test_feature_metrics import DIGITS, images, table


def torch_fidelitys(fake: Tensor, real: Tensor) -> float:
    of_fake, of_real = (fid_features_to_statistics(features) for features in (fake, real))
    distance: float = fid_statistics_to_metric(of_fake, of_real, verbose=False)["frechet_inception_distance"]
    return distance


def features(count: int, width: int, seed: int, fading: float) -> Tensor:
    """Correlated features whose standard deviations fall to exp(-fading), of one sign, as Inception's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(99))
    scales = torch.linspace(0, -fading, width).exp()
    return (torch.randn(count, width, generator=generator) * scales @ mixing + 0.1 * seed).relu()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("num_fake", "num_real"), [(500, 400), (400, 41), (41, 400), (30, 20), (20, 30), (2, 40)])
def test_it_is_torch_fidelitys(num_fake: int, num_real: int, dtype: torch.dtype) -> None:
    """Of full rank, and with fewer images than the 40 features on one side or both."""
    fake, real = (features(count, 40, seed, 3.0).to(dtype) for count, seed in ((num_fake, 1), (num_real, 2)))
    distance = frechet_distance(Moments(fake), Moments(real))
    assert distance == pytest.approx(torch_fidelitys(fake, real), rel=1e-6)
    assert frechet_distance(Moments(real), Moments(fake)) == pytest.approx(distance, rel=1e-9)


def test_features_that_are_constant_change_nothing() -> None:
    fake, real = (features(200, 20, seed, 1.0).double() for seed in (1, 2))
    padded = [Moments(torch.cat([each, torch.zeros(200, 12).double()], 1)) for each in (fake, real)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(Moments(fake), Moments(real)), rel=1e-6)


@pytest.mark.parametrize(("num_fake", "num_real"), [(500, 400), (30, 20), (20, 300)])
def test_the_trace_of_the_root_is_the_nuclear_norm_of_the_cross_product(num_fake: int, num_real: int) -> None:
    """tr (S S')^(1/2) = |A B^T|_* for centered features with A^T A = S and B^T B = S'."""
    fake, real = (features(count, 40, seed, 6.0).double() for count, seed in ((num_fake, 1), (num_real, 2)))
    a, b = ((each - each.mean(0)) / (len(each) - 1) ** 0.5 for each in (fake, real))
    root = torch.linalg.svdvals(a @ b.T).sum()
    expected = (fake.mean(0) - real.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * root
    assert frechet_distance(Moments(fake), Moments(real)) == pytest.approx(expected.item(), rel=1e-9)


def test_gaussians_that_share_their_axes_differ_by_their_means_and_deviations() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(300, 8, dtype=torch.float64, generator=generator)
    whitened = torch.linalg.qr(normal - normal.mean(0))[0] * 299**0.5  # of mean zero and covariance one
    axes = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64, generator=generator))[0]
    deviations, others = torch.rand(2, 8, dtype=torch.float64, generator=generator)
    fake, real = whitened * deviations @ axes + 0.5, whitened * others @ axes
    expected = 8 * 0.25 + (deviations - others).square().sum().item()
    assert frechet_distance(Moments(fake), Moments(real)) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(Moments(real), Moments(real)) == pytest.approx(0, abs=1e-12)


def test_real_moments_are_computed_once_for_many_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, eigenvectors = [], []

    def statistics(values: Tensor) -> dict[str, np.ndarray]:
        computed.append(len(values))
        return fid_features_to_statistics(values)

    def counted_eigh(matrix: Tensor, eigh: Callable[[Tensor], object] = torch.linalg.eigh) -> object:
        eigenvectors.append(len(matrix))
        return eigh(matrix)

    monkeypatch.setattr(frechet, "fid_features_to_statistics", statistics)
    monkeypatch.setattr(torch.linalg, "eigh", counted_eigh)
    scorer = replace(DIGITS, names=["fid"]).against(table(images(90, 0)), 50)
    scores = [scorer.score(subject(images(50, seed)))["fid_digits_v2"] for seed in (1, 2)]
    assert computed == [50, 90, 50]
    assert eigenvectors == [64]
    assert scores[0] != scores[1]
