"""All faults, in the order of the table."""

from . import Fault, runs

CASES: list[Fault] = [*runs.CASES]
