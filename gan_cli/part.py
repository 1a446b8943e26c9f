"""Parts of a run besides its networks: each defines what it does at certain points of training."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from gan_cli.ranges import Ranged
from gan_cli.shapes import Turn


@runtime_checkable
class Stateful(Protocol):
    """An object with state that changes from step to step; checkpoints contain it."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class Part(Ranged):
    """An objective, a regularizer, a latent sampler or an augmentation.

    A part with state is also an `nn.Module` with buffers. Every hook is empty by default. `compares_images` says
    whether it compares images of a batch with each other, or keeps a mean of batches: then the mean of its values for
    the parts of a batch is not that for the batch, and `accumulate` is refused.
    """

    compares_images: bool = False

    def before_step(self, device: torch.device, step: int) -> None:
        """Before the first turn of each step, with the step's random state, after `step` finished ones."""

    def after_turn(self, turn: Turn) -> None:
        """After each turn of each player, before its update; nothing here may need a gradient."""


def nested(path: str, part: object) -> Iterator[tuple[str, object]]:
    """The part and all parts inside it, also in lists, mappings and modules, each with its dotted path."""
    yield path, part
    if isinstance(part, Part):
        children = dict(part.named_children()) if isinstance(part, nn.Module) else {}
        for name, value in {**vars(part), **children}.items():
            if not name.startswith("_"):
                yield from inside(f"{path}.{name}", value)


def inside(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Part | Stateful):
        yield from nested(path, value)
    elif isinstance(value, list | tuple | dict):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from inside(f"{path}.{name}", item)
