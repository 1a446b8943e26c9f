"""Injects every fault many times, in as many processes as there are cores, and prints what held.

python -m tests.faults [--quick] [part of a fault's name]
"""

import os
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from gan_cli.text import printable

from . import DataLostError, Fault, Injection
from .cases import CASES

CHUNK = 25  # injections that one process does before it reports
MOST_SHOWN = 3  # failures of one fault


def inject(name: str, numbers: range) -> list[tuple[int, bool, str]]:
    """What did not hold: the injection's number, whether data was lost, and what happened."""
    import torch

    torch.set_num_threads(1)
    fault = next(case for case in CASES if case.name == name)
    failures = []
    for number in numbers:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fault.run(Path(folder), Injection(name, number))
            except DataLostError as lost:
                failures.append((number, True, printable(lost)))
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                failures.append((number, False, printable(f"{type(error).__name__} at {where.name}: {error}")))
    return failures


def be_silent() -> None:
    """Libraries write lines of their own about damaged files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)


def main() -> None:
    quick = "--quick" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = [fault for fault in CASES if all(word in fault.name for word in words)]
    width = max(len(fault.name) for fault in chosen)
    print(f"{'fault':{width}}  injected     held  data lost  seconds", flush=True)
    totals = [0, 0, 0]
    with TemporaryDirectory() as cache:
        os.environ |= {"GAN_CLI_CACHE": cache, "OMP_NUM_THREADS": "1"}
        with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=be_silent) as processes:
            for fault in chosen:
                counts = report(fault, fault.quick if quick else fault.times, processes, width)
                totals = [total + count for total, count in zip(totals, counts, strict=True)]
    print(f"{'all':{width}}  {totals[0]:8,} {totals[1]:8,} {totals[2]:10,}")
    sys.exit(totals[0] != totals[1])


def report(fault: Fault, times: int, processes: ProcessPoolExecutor, width: int) -> tuple[int, int, int]:
    began = time.monotonic()
    chunks = [range(first, min(first + CHUNK, times)) for first in range(0, times, CHUNK)]
    failures = [failure for found in processes.map(inject, [fault.name] * len(chunks), chunks) for failure in found]
    lost = sum(is_lost for _, is_lost, _ in failures)
    seconds = time.monotonic() - began
    print(f"{fault.name:{width}}  {times:8,} {times - len(failures):8,} {lost:10,} {seconds:8.0f}", flush=True)
    for number, _, text in failures[:MOST_SHOWN]:
        print(f"    injection {number}: {text}", flush=True)
    return times, times - len(failures), lost
