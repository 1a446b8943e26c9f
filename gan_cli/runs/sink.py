"""What a run tells while it goes on, and to whom: the run does not know who listens."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Someone who is told; whatever a sink does not care for is left as it is here."""

    def advanced(self, reading: Reading) -> None:
        """A step whose numbers have been read is done."""

    def recorded(self, record: Record) -> None:
        """A line of metrics.jsonl: losses, or metrics."""

    def working(self, what: str) -> None:
        """Work besides training goes on: "sampling images 3/20"; empty when it is done."""

    def finished(self, summary: Record) -> None:
        """The run has ended, however it did."""
