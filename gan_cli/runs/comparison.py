"""Compares what a run says of itself with what is computed again: records, summaries and states."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.nodes import flatten
from gan_cli.errors import DifferenceError
from gan_cli.runs.checkpoint import STATE, Checkpoint
from gan_cli.runs.replay import Replay
from gan_cli.runs.sink import Record
from gan_cli.runs.state import described, read_state
from gan_cli.text import printable

# On another machine a number may be as far away as this many times what it moves by where each weight is changed by a
# rounding error after each step; and at least this far, relative to itself.
TIMES, ROUNDING = 10.0, {"float32": 1e-6, "bfloat16": 1e-6, "tf32": 1e-4}
LEAST, LEAST_OF_A_SCORE = 1e-4, 1e-2
SMALLEST = 1e-30  # that something is divided by
MEASURED = {"seconds", "scoring_seconds", "sampling.seconds"}  # of a record: no two runs agree


SCORES = "metrics"  # the group


@dataclass
class Margin:
    """How far a number may be from the run's: 0 where every bit is to be the same.

    `largest` is the largest that was allowed, relative to the number.
    """

    exact: bool
    largest: float = 0.0
    moved: dict[str, float] = field(default_factory=dict)

    def see(self, group: str, moved: float) -> None:
        """Rounding moves a number of the group by this much on this machine; it counts for all of it from now on."""
        self.moved[group] = max(self.moved.get(group, 0.0), moved)

    def holds(self, apart: float, size: float, group: str) -> bool:
        """Whether a number of this size may be `apart`."""
        if self.exact:
            return apart == 0
        least = LEAST_OF_A_SCORE if group == SCORES else LEAST
        allowed = max(TIMES * self.moved.get(group, 0.0), least * size)
        if 0 < apart <= allowed:
            self.largest = max(self.largest, allowed / max(size, SMALLEST))
        return apart <= allowed

    @property
    def found_exact(self) -> bool:
        return self.largest == 0


def compare_values(
    place: str,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    margin: Margin,
    others: Mapping[str, Any] | None = None,
    origin: str = "its record",
) -> None:
    """Raises DifferenceError for the first value that differs; `others` are those with rounding errors added."""
    for key in theirs:
        if key not in ours:
            raise DifferenceError(f"{place}: {printable(key)} is there, and {origin} gives none")
    for key, value in ours.items():  # those of a group are moved alike, and one of them may happen not to be
        margin.see(key.partition(".")[0], distance(value, (others or {}).get(key, value)))
    for key, value in ours.items():
        if key not in theirs:
            raise DifferenceError(f"{place}: {printable(key)} is missing, and {origin} gives {shown(value)}")
        size = abs(float(value)) if is_number(value) else 0.0
        if not margin.holds(distance(theirs[key], value), size, key.partition(".")[0]):
            raise DifferenceError(
                f"{place}: {printable(key)} is {shown(theirs[key])}, and {origin} gives {shown(value)}"
            )


def shown(value: Any) -> str:
    return printable(json.dumps(value), 200)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distance(first: Any, second: Any) -> float:
    """Between numbers: infinite if only one of them is finite; of other values, 0 if they are equal."""
    if not (is_number(first) and is_number(second)):
        return 0.0 if first == second else math.inf
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    apart = abs(float(first) - float(second))
    return math.inf if math.isnan(apart) else apart


def numbers(record: Record) -> dict[str, Any]:
    """By dotted keys, also those in lists; without what another machine measures otherwise."""
    flat = {key: value for key, value in flatten(record).items() if key not in MEASURED}
    lists = {key: value for key, value in flat.items() if isinstance(value, list)}
    of_lists = {f"{key}.{place}": one for key, value in lists.items() for place, one in enumerate(value)}
    return {key: value for key, value in flat.items() if key not in lists} | of_lists


def compare_states(found: Checkpoint, plain: Replay, moved: Replay | None, margin: Margin, origin: str) -> None:
    """Weights, buffers, optimizers and all other state; raises DifferenceError for the first that differs."""
    place = f"checkpoints/{found.folder.name}"
    theirs, ours = read_state(found.folder / STATE), plain.state()
    others = ours if moved is None else moved.state()
    sizes = {key: norm_of(our, torch.zeros_like(our)) for key, our in ours.items() if isinstance(our, Tensor)}
    for key, size in sizes.items():
        if size > 0 and described(others.get(key)) == described(ours[key]):
            margin.see(key.partition("/")[0], norm_of(ours[key], others[key]) / size)
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        if key not in theirs or key not in ours:
            where = "missing" if key not in theirs else "surplus"
            raise DifferenceError(f"{place}: {printable(key)} is {where}, by {origin}")
        their, our, group = theirs[key], ours[key], key.partition("/")[0]
        if described(their) != described(our):
            raise DifferenceError(
                f"{place}: {printable(key)} is {described(their)}, and {origin} gives {described(our)}"
            )
        if not isinstance(our, Tensor):
            compare_values(place, {key: their}, {key: our}, margin, {key: others.get(key, our)}, origin)
            continue
        apart = norm_of(their, our) / max(sizes[key], SMALLEST)
        if (margin.exact and not same_bits(their, our)) or not margin.holds(apart, 1.0, group):
            raise DifferenceError(f"{place}: {printable(key)} differs from {origin} by {apart:.1g} of its size")


def same_bits(first: Tensor, second: Tensor) -> bool:
    flat = (one.contiguous().reshape(-1).view(torch.uint8) for one in (first, second))
    return torch.equal(*flat)


def norm_of(first: Tensor, second: Tensor) -> float:
    """The length of the difference; infinite if it is not a number."""
    length = (first.double() - second.double()).norm().item()
    return math.inf if math.isnan(length) else length
