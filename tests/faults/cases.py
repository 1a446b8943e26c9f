"""All faults, in the order of the table."""

from . import Fault, images, reports, runs

CASES: list[Fault] = [*runs.CASES, *images.CASES, *reports.CASES]
