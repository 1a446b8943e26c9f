"""Distances between features in blocks of rows, so that the whole matrix of them is never in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_cli.shapes import Features
from gan_cli.work import track

MOST_DISTANCES = 2**24  # of a block


def distance_blocks(points: Features, others: Features) -> Iterator[Tensor]:
    """Euclidean distances [rows, others] of consecutive rows of `points`.

    By |x|^2 + |y|^2 - 2 x y of centered features; a distance that is zero but for the rounding of this sum is 0, so
    that equal features coincide.
    """
    center = others.mean(0)
    points, others = points - center, others - center
    lengths = others.square().sum(1)
    for rows in track(points.split(max(1, MOST_DISTANCES // len(others))), "distances, block"):
        scale = rows.square().sum(1, keepdim=True) + lengths
        squared = torch.addmm(scale, rows, others.T, alpha=-2)
        yield squared.where(squared > 100 * torch.finfo(squared.dtype).eps * scale, 0).sqrt()


def nearest(points: Features, others: Features, count: int) -> tuple[Tensor, Tensor]:
    """The distances [points, count] to the nearest of `others`, nearest first, and their rows."""
    found = [block.topk(count, dim=1, largest=False) for block in distance_blocks(points, others)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
