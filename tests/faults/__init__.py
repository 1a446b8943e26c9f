"""Faults injected for real: what is done to a run, and what has to be left.

`python -m tests.faults` injects each many times and prints a table; tests/test_faults.py injects each a few times.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class Injection(random.Random):
    """The randomness of one injection, which follows from the fault's name and the injection's number."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} {number}")
        self.number = number


class DataLostError(AssertionError):
    """Something that was saved is gone, or is believed although it changed."""


@dataclass(frozen=True)
class Fault:
    """`run` injects it once in an empty folder, and raises AssertionError if it did not hold.

    `times` is the number of injections in the long form, `quick` in the short one.
    """

    name: str
    run: Callable[[Path, Injection], None]
    times: int
    quick: int
