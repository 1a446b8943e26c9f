"""What keeps a player in bounds: a penalty in its loss, or a constraint on its weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from gan_cli.game import Game, Turn
from gan_cli.shapes import Loss

Player = Literal["discriminator", "generator"]


@dataclass(frozen=True, kw_only=True)
class Regularizer(ABC):
    """A weighted penalty added to one player's loss.

    A lazy one is only added at every `every`-th turn of its player, with `every` times the weight (Karras et al. 2020,
    arXiv:1912.04958). Raises ValueError for a negative weight, or unless `every` is at least 1.
    """

    player: ClassVar[Player]
    weight: float
    every: int = 1  # a default, so that regularizers that know nothing of laziness need not say so

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight={self.weight} must be at least 0")
        if self.every < 1:
            raise ValueError(f"every={self.every} must be at least 1")

    @abstractmethod
    def penalty(self, game: Game, turn: Turn) -> Loss:
        """The unweighted penalty; it may pass any image through `game`, also under differentiation.

        It is called inside `isolated`: statistics, singular vectors and random state are not its concern.
        """


class Constraint(ABC):
    """A rule that one player's weights always obey, whatever its loss."""

    player: ClassVar[Player]

    def impose(self, network: nn.Module) -> None:  # noqa: B027
        """Changes the network in place, once, after its weights are initialised."""

    def after_update(self, network: nn.Module) -> None:  # noqa: B027
        """Changes the weights in place, after each update of the player."""
