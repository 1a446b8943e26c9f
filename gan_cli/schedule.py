"""Schedules: numbers that change while training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
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


@dataclass(frozen=True, kw_only=True)
class Stairs(Schedule):
    """From `start`, multiplied by `factor` after every `every` steps, as torch's StepLR.

    Raises ValueError unless 0 < factor < 1 and every >= 1.
    """

    start: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(f"factor={self.factor} must be above 0 and below 1")
        if self.every < 1:
            raise ValueError(f"every={self.every} must be at least 1")

    def __str__(self) -> str:
        return f"{{start: {self.start}, factor: {self.factor}, every: {self.every}}}"

    def at(self, step: int) -> float:
        return self.start * self.factor ** (step // self.every)


@dataclass(frozen=True, kw_only=True)
class HalfLife(Schedule):
    """The decay of a moving average whose half-life, in steps, goes from `start` to `end` as a `Ramp` does.

    It is (1/2)^(1 / half-life), and 0 for a half-life of 0. Raises ValueError for a negative half-life.
    """

    start: float | int
    end: float | int
    until: int
    shape: Literal["linear", "cosine"]

    def __post_init__(self) -> None:
        if min(self.start, self.end) < 0:
            raise ValueError(f"start={self.start} and end={self.end} must be at least 0: they are half-lives in steps")

    def at(self, step: int) -> float:
        half_life = Ramp(start=float(self.start), end=float(self.end), until=self.until, shape=self.shape).at(step)
        return 0.5 ** (1 / half_life) if half_life > 0 else 0.0


def kind_of(written: Mapping[str, Any]) -> type[Ramp] | type[Stairs]:
    """The class that a mapping without one is meant for, by its keys."""
    return Stairs if {"factor", "every"} & set(written) else Ramp


def is_whole(written: Mapping[str, Any]) -> bool:
    """Whether a mapping without a class has every parameter that its schedule needs, and nothing else."""
    known = {field.name for field in fields(kind_of(written))}
    return known - {"since"} <= set(written) <= known


def value_at(value: Any, step: int) -> Any:
    """The value at a step: of a number, or of a tuple of numbers, each of which may be a schedule."""
    if isinstance(value, Schedule):
        return value.at(step)
    return tuple(value_at(item, step) for item in value) if isinstance(value, tuple) else value
