"""Density and coverage: how many balls around real images hold a generated one, and how many hold at least one.

Naeem et al. 2020 (arXiv:2002.09797), equations 4 and 5, with the 5 neighbours that they choose. For two samples of one
law the expected density is 1, and the expected coverage of as many images on both sides approaches 1 - 2^-5.
"""

import torch

from gan_cli.metrics.metrics import NUM_NEIGHBOURS, Sample
from gan_cli.metrics.neighbours import distance_blocks


def density_coverage(fake: Sample, real: Sample) -> dict[str, float]:
    """A ball holds its boundary: so a real image with five duplicates, whose ball has no radius, can be covered."""
    radii = real.neighbour_distances[:, -1]
    num_inside, covered = 0, torch.zeros(len(radii), dtype=torch.bool)
    for distances in distance_blocks(fake.features, real.features):
        inside = distances <= radii
        num_inside += int(inside.sum())
        covered |= inside.any(0)
    return {
        "density": num_inside / (NUM_NEIGHBOURS * len(fake.features)),
        "coverage": covered.double().mean().item(),
    }
