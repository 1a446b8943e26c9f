"""What each augmentation adds to a step: python -m benchmarks.augmentations [override ...]

Steps of runs that differ in the augmentation alone are taken in turn, in one process. Prints the median time of a step,
its ratio to a step without, and what a turn adds. OMP_NUM_THREADS sets the threads.
"""

import statistics
import sys
import time
from collections.abc import Sequence

from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.trainer import train

CHOICES = {
    "none": ("augmentation=none",),
    "flip": ("augmentation=flip",),
    "diffaugment": ("augmentation=diffaugment",),
    "ada": ("augmentation=ada", "augmentation.p=0.2"),
}
WARMUP, ROUNDS = 3, 40


def main(overrides: Sequence[str]) -> None:
    runs = {
        name: train(build_experiment(config_of([*overrides, *words, f"steps={WARMUP + ROUNDS}"]), Engine()))
        for name, words in CHOICES.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARMUP + ROUNDS):
        for name, steps in runs.items():
            started = time.perf_counter()
            next(steps)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times[WARMUP:]) for name, times in seconds.items()}
    for name, median in medians.items():
        added = (median - medians["none"]) / 2
        print(f"{name:12} {1000 * median:7.1f} ms  {median / medians['none']:.2f}  {1000 * added:+.1f} ms a turn")


if __name__ == "__main__":
    main(sys.argv[1:])
