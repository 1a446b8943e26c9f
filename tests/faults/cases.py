"""All faults, in the order of the table."""

from . import Fault, images, reports, runs, training

CASES: list[Fault] = [*runs.CASES, *training.CASES, *images.CASES, *reports.CASES]
