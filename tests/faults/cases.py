"""All faults, in the order of the table."""

from . import Fault, images, runs, training

CASES: list[Fault] = [*runs.CASES, *images.CASES, *training.CASES]
