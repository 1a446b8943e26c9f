"""Randomness is a function of (seed, rank, step), data order a function of (seed, batch number)."""

import hashlib
from functools import lru_cache

import torch
from torch import Tensor


def mix(*parts: int | str) -> int:
    """One 63-bit seed from several parts; unlike hash(), it is the same in every process."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seeds torch, so that a step's random draws do not depend on earlier steps."""
    torch.manual_seed(mix("step", seed, rank, step))


def batch_rows(num_images: int, batch_size: int, seed: int, batch: int) -> Tensor:
    """Rows [batch_size] of the given batch: each epoch is a permutation, and an incomplete tail is dropped."""
    epoch, position = divmod(batch, num_images // batch_size)
    return epoch_order(num_images, seed, epoch)[position * batch_size :][:batch_size]


@lru_cache(maxsize=4)  # the turns of one step may straddle the end of an epoch, also of the labelled images
def epoch_order(num_images: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(mix("epoch", seed, epoch))
    return torch.randperm(num_images, generator=generator)
