"""The maximum mean discrepancy of unit features under a Gaussian kernel: CMMD, on embeddings of CLIP.

Jayasumana et al. 2024 (arXiv:2401.09603), whose sigma and factor these are. The estimate is the paper's unbiased one,
without an image's kernel with itself; the authors' code keeps it.
"""

import torch
from torch.nn.functional import normalize

from gan_cli.metrics.metrics import Sample
from gan_cli.metrics.neighbours import distance_blocks
from gan_cli.shapes import Features

SIGMA, FACTOR = 10, 1000


def cmmd(fake: Sample, real: Sample) -> dict[str, float]:
    """1000 times the squared discrepancy; its mean over samples of one law is zero, so that it may be below."""
    one, other = normalize(fake.features), normalize(real.features)
    count, num_real = len(one), len(other)
    within = kernel_sum(one, one) / (count * (count - 1)) + kernel_sum(other, other) / (num_real * (num_real - 1))
    return {"cmmd": FACTOR * (within - 2 * kernel_sum(one, other) / (count * num_real))}


def kernel_sum(points: Features, others: Features) -> float:
    """The sum over all pairs of the kernel minus 1: the ones cancel, and of small numbers more digits are left."""
    blocks = distance_blocks(points, others)
    return sum(torch.expm1(-block.double().square() / (2 * SIGMA**2)).sum().item() for block in blocks)
