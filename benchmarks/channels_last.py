"""Steps of the default run with each memory layout, interleaved in one process: python benchmarks/channels_last.py."""

import statistics
import time
from collections.abc import Iterator

import torch

from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.iteration import Step
from gan_cli.trainer import train

ROUNDS, STEPS = 5, 40
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def running(overrides: list[str], layout: torch.memory_format) -> Iterator[Step]:
    experiment = build_experiment(config_of([*overrides, "steps=1000000"]), Engine())
    for player in experiment.players:
        player.network.to(memory_format=layout)
    return train(experiment)


def milliseconds(steps: Iterator[Step]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return (time.perf_counter() - started) / STEPS * 1000


for overrides in (["regularizer=none"], [], ["objective=wgan_gp"]):
    runs = {name: running(overrides, layout) for name, layout in LAYOUTS.items()}
    for steps in runs.values():
        milliseconds(steps)  # warm-up
    rounds = [{name: milliseconds(steps) for name, steps in runs.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(times[name] for times in rounds) for name in runs}
    ratio = medians["contiguous"] / medians["channels last"]
    print(overrides or ["default"], {name: f"{value:.2f} ms" for name, value in medians.items()}, f"ratio {ratio:.2f}")
