"""The processes that train one run together, each on its part of every batch; nothing else calls torch.distributed."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.rendezvous import rendezvous

from gan_cli import launched
from gan_cli.errors import ElsewhereError, EndError, RankError, one_line
from gan_cli.seeding import mix, reseeded

Told = TypeVar("Told")


class Ranks:
    """One process alone: what it has is what all have."""

    rank = 0
    local_rank = 0  # among those on this machine
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's folder and speaks for all."""
        return self.rank == 0

    def part_of(self, count: int) -> slice:
        """The rows that this process takes of a batch of `count`, which is a multiple of `size`."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def begin_step(self, seed: int, step: int) -> None:
        """`common` draws depend on these from now on."""

    @contextmanager
    def common(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        """Inside, random draws are the same in all processes; outside, each process has its own."""
        yield

    def rows(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The rows of all processes in their order, with a gradient for the own ones.

        What is then computed from all rows, and is the same in all processes, has the right gradient once it is
        averaged over them. It can be differentiated once.
        """
        return tensors

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Puts the mean over all processes in place of each tensor."""

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Puts what the first process has in place of each tensor."""

    def told_by_first(self, value: Told) -> Told:
        """The first process's value."""
        return value

    def told_by_all(self, value: Told) -> list[Told]:
        """The value of each process, in their order."""
        return [value]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, an error of one process, which ends its command, ends all."""
        yield

    def largest(self, number: int) -> int:
        """The largest number that any process has given; several processes get that of their previous call."""
        return number

    def close(self) -> None:
        """At the end of the run."""


ALONE = Ranks()
sharing: ContextVar[Ranks] = ContextVar("sharing", default=ALONE)


@contextmanager
def shared_out(ranks: Ranks) -> Iterator[None]:
    """Inside, long work is shared by these processes, all of which do the same."""
    token = sharing.set(ranks)
    try:
        yield
    finally:
        sharing.reset(token)


def each(items: Sequence[Any], function: Callable[[Sequence[Any]], list[Told]]) -> list[Told]:
    """What `function` makes of the items, one for each, in their order; each process of `shared_out` makes some.

    Raises what it raises, in all processes.
    """
    ranks = sharing.get()
    if ranks.size == 1:
        return function(items)
    own: list[Told] = []
    with ranks.together():
        own = function(items[ranks.rank :: ranks.size])
    made = ranks.told_by_all(own)
    return [made[number % ranks.size][number // ranks.size] for number in range(len(items))]


class Group(Ranks):
    """Several processes, started by torchrun or with its variables, on CPUs or on one GPU each.

    Tensors of a GPU go through NCCL, all else through gloo. Raises RankError where another process has ended, or has
    not answered within `timeout` seconds.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        limit = timedelta(seconds=timeout)
        with self.answering():
            store, self.rank, self.size = next(rendezvous("env://", timeout=limit))
            # torchrun keeps its store when it starts the processes again, with the addresses of those before.
            own = torch._C._distributed_c10d.PrefixStore(f"start {launched.num_restarts()}", store)
            dist.init_process_group(backend, store=own, rank=self.rank, world_size=self.size, timeout=limit)
            self.local_rank = launched.local_rank()
            self.talk: Any = dist.new_group(backend="gloo", timeout=limit)
        self.step, self.entrances = (0, 0), 0
        self.asked: tuple[Tensor, Any] | None = None

    @contextmanager
    def answering(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # also of the store
            reason = re.sub(r"^\[\S*\] ", "", one_line(error)).partition(". ")[0]  # without the place in the library
            raise RankError(
                f"another process of this run has ended, or has not answered for {self.timeout:g} s ({reason[:100]})"
            ) from error

    def begin_step(self, seed: int, step: int) -> None:
        self.step, self.entrances = (seed, step), 0

    @contextmanager
    def common(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        seed = mix("common", *self.step, self.entrances)
        self.entrances += 1
        with reseeded(generators, seed):
            yield

    def rows(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        made: tuple[Tensor, ...] = RowsOfAll.apply(self, *tensors)
        return made

    def gathered(self, values: Tensor) -> Tensor:
        """[processes, *values.shape]"""
        made = values.new_empty(self.size, *values.shape)
        with self.answering():
            dist.all_gather(list(made.unbind()), values.contiguous())
        return made

    def average(self, tensors: Sequence[Tensor]) -> None:
        for flat, parts in flattened(tensors):
            with self.answering():
                dist.all_reduce(flat)
            flat /= self.size
            unflatten(flat, parts)

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        for flat, parts in flattened(tensors):
            with self.answering():
                dist.broadcast(flat, 0)
            unflatten(flat, parts)

    def told_by_first(self, value: Told) -> Told:
        told: list[Any] = [value if self.leads else None]
        with self.answering():
            dist.broadcast_object_list(told, 0, group=self.talk)
        return told[0]

    def told_by_all(self, value: Told) -> list[Told]:
        told: list[Any] = [None] * self.size
        with self.answering():
            dist.all_gather_object(told, value, group=self.talk)
        return told

    @contextmanager
    def together(self) -> Iterator[None]:
        own: EndError | None = None
        try:
            yield
        except RankError:
            raise
        except EndError as error:
            own = error
        said = self.told_by_all(None if own is None else (str(own), own.code))
        for rank, end in enumerate(said):
            if end is None:
                continue
            if rank == 0 and own is not None and self.leads:
                raise own
            raise ElsewhereError(f"{end[0]} (process {rank} of {self.size})", end[1])

    def largest(self, number: int) -> int:
        """It does not wait for the device, only for what was asked the last time."""
        before, own = self.asked, torch.tensor(number)
        with self.answering():
            self.asked = own, dist.all_reduce(own, dist.ReduceOp.MAX, group=self.talk, async_op=True)
            if before is None:
                return 0
            before[1].wait()
        return int(before[0])

    def close(self) -> None:
        if self.asked is not None:
            with self.answering():
                self.asked[1].wait()
        dist.destroy_process_group()


class RowsOfAll(torch.autograd.Function):
    """All tensors in one exchange; [batch, ...] each, all of one type and batch."""

    @staticmethod
    def forward(ctx: Any, ranks: Group, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks, ctx.count = ranks, len(tensors[0])
        shapes = [tensor.shape[1:] for tensor in tensors]
        all_rows = ranks.gathered(torch.cat([tensor.reshape(ctx.count, -1) for tensor in tensors], 1)).flatten(0, 1)
        parts = all_rows.split([shape.numel() for shape in shapes], 1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        own = slice(ctx.ranks.rank * ctx.count, (ctx.ranks.rank + 1) * ctx.count)
        return (None, *(gradient[own] * ctx.ranks.size for gradient in gradients))


def flattened(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """One flat copy for all tensors of one type and device, and these."""
    kinds = {(tensor.dtype, tensor.device): None for tensor in tensors}
    for dtype, device in kinds:
        parts = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == (dtype, device)]
        yield torch.cat([part.detach().reshape(-1) for part in parts]), parts


@torch.no_grad()
def unflatten(flat: Tensor, parts: Sequence[Tensor]) -> None:
    for part, values in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
        part.copy_(values.view(part.shape))


def join(timeout: float) -> Ranks:
    """The processes that were started together with this one."""
    return Group(timeout) if launched.num_processes() > 1 else ALONE
