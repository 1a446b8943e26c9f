"""What a run is made of besides its networks: each part says what it does at the moments of training."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from gan_cli.ranges import Ranged
from gan_cli.shapes import Turn


@runtime_checkable
class Stateful(Protocol):
    """What remembers something from step to step: checkpoints hold it."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class Part(Ranged):
    """An objective, a regularizer, a latent sampler or an augmentation.

    One that remembers something is an `nn.Module` with buffers, too. Every moment is empty unless a part fills it.
    """

    def before_step(self, device: torch.device) -> None:
        """Before the first turn of each step, with the step's random state."""

    def after_turn(self, turn: Turn) -> None:
        """After each turn of each player, before its update; nothing here may need a gradient."""


def nested(path: str, part: object) -> Iterator[tuple[str, object]]:
    """The part and those that it is made of, each with its dotted path."""
    yield path, part
    if isinstance(part, Part):
        for name, value in vars(part).items():
            if isinstance(value, Part | Stateful) and not name.startswith("_"):
                yield from nested(f"{path}.{name}", value)
