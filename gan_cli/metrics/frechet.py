"""The Frechet distance between Gaussians with the moments of features: FID, of Inception's features.

Heusel et al. 2017 (arXiv:1706.08500), equation 6. The moments are torch-fidelity's. Its trace term takes the
eigenvalues of a product of covariances, which is not symmetric; here they are those of a symmetric matrix that has the
same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gan_cli.metrics.fidelity import fid_features_to_statistics
from gan_cli.shapes import Features


@dataclass(frozen=True)
class Moments:
    """The mean and covariance of features, computed when they are first read, then kept."""

    features: Features

    @cached_property
    def mean_and_covariance(self) -> tuple[np.ndarray, np.ndarray]:
        statistics = fid_features_to_statistics(self.features)
        return statistics["mu"], statistics["sigma"]

    @property
    def rank(self) -> int:
        """Of the covariance, at most."""
        return min(len(self.features) - 1, self.features.shape[1])

    @cached_property
    def factor(self) -> Tensor:
        """A matrix L in float64, [features, columns], for which L L^T is the covariance."""
        if self.rank < self.features.shape[1]:
            centered = self.features.double() - self.features.double().mean(0)
            return centered.T / (len(centered) - 1) ** 0.5
        values, vectors = torch.linalg.eigh(torch.from_numpy(self.mean_and_covariance[1]))
        return vectors * values.clamp(min=0).sqrt()


def frechet_distance(fake: Moments, real: Moments) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), of means m and covariances S.

    With the real covariance S' = L L^T, the trace of the root is the sum of the roots of the eigenvalues of L^T S L. As
    many as the smaller rank count; the others are zero but for rounding, whose root would not be small.
    """
    (mean, covariance), (real_mean, real_covariance) = fake.mean_and_covariance, real.mean_and_covariance
    difference = mean - real_mean
    product = real.factor.T @ torch.from_numpy(covariance) @ real.factor
    eigenvalues = torch.linalg.eigvalsh(product)[-min(fake.rank, real.rank) :]
    root = eigenvalues.clamp(min=0).sqrt().sum().item()
    return float(difference.dot(difference) + np.trace(covariance) + np.trace(real_covariance) - 2 * root)
