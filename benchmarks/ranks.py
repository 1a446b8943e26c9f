"""Images a second of one run in one process and in several: python -m benchmarks.ranks [processes] [override ...]

Each process has a GPU, or a core of its own and one thread. Both kinds are started in turn, ROUNDS times; the batch is
the same, so that with two processes each computes half of it. Prints medians, their ratio, and what a process sends a
step.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

ROUNDS, WARMUP, SECONDS = 3, 4, 10.0


def main(processes: int, overrides: Sequence[str]) -> None:
    speeds: dict[int, list[float]] = {1: [], processes: []}
    sent = 0
    for _ in range(ROUNDS):
        for count in speeds:
            measured = run_once(count, overrides)
            speeds[count].append(measured["images_per_second"])
            sent = max(sent, measured["bytes"])
    one, several = (statistics.median(found) for found in speeds.values())
    print(f"1 process {one:,.0f} images/s, {processes} processes {several:,.0f}: {several / one:.2f} times")
    print(f"exchanged in a step: {sent:,} bytes of each process")


def run_once(count: int, overrides: Sequence[str]) -> dict[str, Any]:
    """What the first of as many processes has measured."""
    port = str(20000 + os.getpid() % 20000 + count)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.ranks", "worker", *overrides]
    started = [
        subprocess.Popen(command, env=os.environ | common | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    said = [process.communicate()[0] for process in started]
    measured: dict[str, Any] = json.loads(said[0].splitlines()[-1])
    return measured


def worker(overrides: Sequence[str]) -> None:
    import torch

    from gan_cli import build_experiment, config_of
    from gan_cli.engine import choose_engine
    from gan_cli.ranks import Group, join
    from gan_cli.trainer import train

    sent = 0

    class Counting(Group):
        def gathered(self, values: torch.Tensor) -> torch.Tensor:
            nonlocal sent
            sent += values.nbytes
            return super().gathered(values)

        def average(self, tensors: Sequence[torch.Tensor]) -> None:
            nonlocal sent
            sent += sum(tensor.nbytes for tensor in tensors)
            super().average(tensors)

    count = int(os.environ["WORLD_SIZE"])
    ranks = Counting(60.0) if count > 1 else join(60.0)
    on_gpus = torch.cuda.device_count() >= count
    if not on_gpus:
        os.sched_setaffinity(0, {int(os.environ["RANK"])})
    engine = choose_engine("auto" if on_gpus else "cpu", ranks)
    experiment = build_experiment(config_of(["steps=100000", *overrides]), engine)
    steps = train(experiment)
    list(islice(steps, WARMUP))
    sent, started, number = 0, time.perf_counter(), 0
    while ranks.told_by_first(time.perf_counter() - started < SECONDS):
        next(steps)
        number += 1
    seconds = time.perf_counter() - started
    ranks.close()
    images = number * experiment.images_per_step
    print(json.dumps({"images_per_second": images / seconds, "bytes": sent // number}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 2, sys.argv[2:])
