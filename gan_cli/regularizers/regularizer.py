"""What keeps a player in bounds: a penalty in its loss, or a constraint on its weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import nn

from gan_cli.game import Game, Turn
from gan_cli.part import Part
from gan_cli.schedule import Schedule
from gan_cli.shapes import Loss


class Bound(Part):
    """What is asked of one player besides its objective; every moment is empty unless a leaf fills it."""

    player: str

    def impose(self, network: nn.Module) -> None:
        """Changes the network in place, once, after its weights are initialised."""

    def check(self, game: Game) -> None:
        """Raises ValueError if the game lacks what this reads."""

    def due(self, number: int) -> bool:
        """Whether it has a term in the player's turn `number`, counted from 1."""
        return True

    def term(self, game: Game, turn: Turn, *, name: str, number: int, step: int) -> Loss | None:
        """What is added to the player's loss in its turn `number`, counted from 1; None for nothing."""
        return None

    def after_update(self, network: nn.Module) -> None:
        """Changes the weights in place, after each update of the player."""


def check_generates(game: Game) -> None:
    """Raises ValueError for a game without generated images."""
    if not game.objective.generates:
        raise ValueError(
            f"it reads generated images, and {type(game.objective).__name__} has no generator: remove this regularizer "
            "or set images=real"
        )


class Constraint(Bound):
    """A rule that one player's weights always obey, whatever its loss."""


@dataclass(frozen=True, kw_only=True)
class Regularizer(Bound, ABC):
    """A weighted penalty added to one player's loss.

    A lazy one is only added at every `every`-th turn of its player, with `every` times the weight (Karras et al. 2020,
    arXiv:1912.04958). Raises ValueError for a negative weight, or unless `every` is at least 1.
    """

    weight: Annotated[float, Ge(0)] | Schedule
    every: Annotated[int, Ge(1)] = 1  # a default, so that regularizers that know nothing of laziness need not say so

    def due(self, number: int) -> bool:
        return number % self.every == 0

    @abstractmethod
    def penalty(self, game: Game, turn: Turn) -> Loss:
        """The unweighted penalty; it may pass any image through `game`, also under differentiation.

        It is called inside `Game.isolated`: statistics, singular vectors and random state are not its concern.
        """

    def term(self, game: Game, turn: Turn, *, name: str, number: int, step: int) -> Loss | None:
        if not self.due(number):
            return None
        weight = self.weight.at(step) if isinstance(self.weight, Schedule) else self.weight
        with game.isolated(f"{name} {number}"):
            return self.every * weight * self.penalty(game, turn)
