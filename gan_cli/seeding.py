"""Randomness is a function of (seed, rank, step), data order a function of (seed, batch number)."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor


def mix(*parts: int | str) -> int:
    """One 63-bit seed from several parts; unlike hash(), it is the same in every process."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_step(seed: int, rank: int, step: int, generators: Iterable[torch.Generator]) -> None:
    """Seeds them, so that a step's random draws do not depend on earlier steps.

    (torch.manual_seed would seed every kind of device, which is slow.)
    """
    for generator in generators:
        generator.manual_seed(mix("step", seed, rank, step))


@contextmanager
def reseeded(generators: Sequence[torch.Generator], seed: int) -> Iterator[None]:
    """Inside, they draw from this seed on; then they go on where they were."""
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def batch_rows(num_images: int, batch_size: int, seed: int, batch: int) -> Tensor:
    """Rows [batch_size] of the given batch: each epoch is a permutation, and an incomplete tail is dropped."""
    epoch, position = divmod(batch, num_images // batch_size)
    return epoch_order(num_images, seed, epoch)[position * batch_size :][:batch_size]


@lru_cache(maxsize=4)  # the turns of one step may straddle the end of an epoch, also of the labelled images
def epoch_order(num_images: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(mix("epoch", seed, epoch))
    return torch.randperm(num_images, generator=generator)


class Streams:
    """The separate random streams of one step, numbered in the order in which they are first entered.

    A stream's seed is a function of the step's seed and its number alone. So it is known before the step begins where
    the streams are entered in the same order at every step, and a graph of the whole step can be given all of them.
    """

    def __init__(self) -> None:
        self.active = False
        self.recorded: Iterator[torch.Generator] | None = None  # while a graph is recorded: one for each entrance
        self.begin(0)

    def begin(self, seed: int) -> None:
        """A new step."""
        self.seed = seed
        self.numbers: dict[tuple[str, str], int] = {}
        self.order: list[int] = []  # the number of the stream, for each entrance

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Inside, streams belong to the step; outside there is none that they could be numbered in."""
        self.active = True
        try:
            yield
        finally:
            self.active = False

    @contextmanager
    def recording(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        """Inside, each entrance takes the next of these generators, whatever its seed is by then."""
        self.recorded = iter(generators)
        try:
            yield
        finally:
            self.recorded = None

    def entered(self, key: str, state: str) -> int:
        """The seed of a stream; the same key in the same state of the generators is the same stream again."""
        number = self.numbers.setdefault((key, state), len(self.numbers))
        self.order.append(number)
        return self.seed_of(number)

    def seed_of(self, number: int) -> int:
        return mix("stream", self.seed, number)
