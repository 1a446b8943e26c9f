"""What keeps a player in bounds: a penalty in its loss, or a constraint on its weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import nn

from gan_cli.shapes import Loss

if TYPE_CHECKING:
    from gan_cli.game import Game, Turn

Player = Literal["discriminator", "generator"]


@dataclass(frozen=True, kw_only=True)
class Regularizer(ABC):
    """A weighted penalty added to one player's loss; raises ValueError for a negative weight."""

    player: ClassVar[Player]
    weight: float

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight={self.weight} must be at least 0")

    @abstractmethod
    def penalty(self, game: "Game", turn: "Turn") -> Loss:
        """The unweighted penalty; it may score any image with `game`, also under differentiation."""


class Constraint(ABC):
    """A rule that one player's weights always obey, whatever its loss."""

    player: ClassVar[Player]

    @abstractmethod
    def impose(self, network: nn.Module) -> None:
        """Changes the network in place, once, after its weights are initialised."""
