"""Schedules: numbers that change while training."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

LAST_STEP = 2**62  # where every schedule has ended


class Schedule(ABC):
    """A number that depends on the step alone: nothing about it is stored."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The value after `step` finished steps, for any step from 0 to LAST_STEP."""


@dataclass(frozen=True, kw_only=True)
class Ramp(Schedule):
    """From `start` to `end` between the steps `since` and `until`, constant before and after.

    The shape is `linear` or half a `cosine` wave. Raises ValueError unless 0 <= since < until.
    """

    start: float
    end: float
    until: int
    shape: Literal["linear", "cosine"]
    since: int = 0  # a default, because most schedules start with the run

    def __post_init__(self) -> None:
        if not 0 <= self.since < self.until:
            raise ValueError(f"since={self.since} must be at least 0 and below until={self.until}")

    def __str__(self) -> str:
        return f"{{start: {self.start}, end: {self.end}, until: {self.until}, shape: {self.shape}}}"  # as YAML has it

    def at(self, step: int) -> float:
        remaining = min(max((self.until - step) / (self.until - self.since), 0.0), 1.0)
        if self.shape == "cosine":
            remaining = (1 - math.cos(math.pi * remaining)) / 2
        return self.end + (self.start - self.end) * remaining


def value_at(value: Any, step: int) -> Any:
    """The value at a step: of a number, or of a tuple of numbers, each of which may be a schedule."""
    if isinstance(value, Schedule):
        return value.at(step)
    return tuple(value_at(item, step) for item in value) if isinstance(value, tuple) else value
