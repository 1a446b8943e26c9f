"""What a run reports, and the base class of those that receive it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """Numbers of one step, read from the device; losses by player, penalties included."""

    step: int
    images_per_second: float
    losses: Mapping[str, float]
    scores: Mapping[str, float]


class Sink:
    """Receives a run's reports; a subclass overrides the methods it needs.

    An error of a `vital` sink ends the run; another sink that raises is left out from then on, with a warning.
    """

    vital = False
    name = ""  # in warnings; empty: its class's

    def began(self, records: Sequence[Record]) -> None:
        """The run begins, or goes on after these records."""

    def advanced(self, reading: Reading) -> None:
        """A step is done and its numbers have been read."""

    def recorded(self, record: Record) -> None:
        """A line of metrics.jsonl: losses, or metrics."""

    def drawn(self, step: int, picture: Path) -> None:
        """A picture of generated images has been saved."""

    def working(self, what: str) -> None:
        """The current work besides training, such as "sampling images 3/20"; empty when it is done."""

    def finished(self, summary: Record) -> None:
        """The run has ended, in any way."""
