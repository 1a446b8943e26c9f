"""How long a turn of each player takes on this machine: python -m benchmarks.speed [FILE.json] [case ...]

Prints a table, and writes it to the file, of real images a second, the share of the machine's convolution peak and the
time of each turn. Where another program can be imported (benchmarks/peers.py), its turns are timed alternately with
ours, in the same process. Times are medians; OMP_NUM_THREADS sets the threads.
"""

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch.nn.functional import conv2d

from benchmarks.peers import Peer, count, found
from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.estimate import Flops
from gan_cli.experiment import Experiment
from gan_cli.feed import real_batches
from gan_cli.trainer import train
from gan_cli.work import track

ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """A run, on images of three colours and 32 pixels if it names no data set; a round takes a turn `repeats` times."""

    overrides: Sequence[str]
    repeats: int = 1
    num_outcomes: int = 1


RESNET = ("generator_batch_size=null", "ema_decay=0.0")
CASES = {
    "SNGAN, residual": Case(("experiment=sngan_resnet_cifar10", *RESNET)),
    "standard GAN, residual": Case(
        (
            *("experiment=sngan_resnet_cifar10", "~regularizer.spectral_norm", "objective=stdgan"),
            *("discriminator_steps=1", *RESNET),
        )
    ),
    "WGAN-GP, residual": Case(("experiment=wgan_gp_resnet_cifar10", "batch_size=32", *RESNET)),
    "RealnessGAN": Case(
        (
            *("experiment=realness_cifar10", "num_outcomes=20", "generator_steps=1", "model.generator.width=32"),
            *("model.discriminator.width=32", "objective.feature_resampling=true"),
        ),
        repeats=10,
        num_outcomes=20,
    ),
    "digits (default)": Case(("dataset=digits", "dataset.image_size=16"), repeats=50),
}


def main(file: Path | None, names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        peak = convolution_peak()
        rows = [measured(name, CASES[name], Path(folder), peak) for name in track(names, "measuring")]
    machine = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "convolution_peak_gflops": round(peak / 1e9),
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(table(rows))
    if file is not None:
        file.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def write_images(folder: Path) -> None:
    draws = numpy.random.default_rng(0)
    for number in range(256):
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)).save(folder / f"{number:03}.png")


def convolution_peak() -> float:
    """Floating-point operations a second of a large convolution in the layout of training."""
    images = torch.randn(64, 128, 32, 32).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3).contiguous(memory_format=torch.channels_last)
    times = [seconds(lambda: conv2d(images, kernel, padding=1)) for _ in range(10)]
    return 2 * 64 * 128 * 128 * 9 * 32 * 32 / min(times)


def measured(name: str, case: Case, folder: Path, peak: float) -> dict[str, Any]:
    data = (
        []
        if any(word.startswith("dataset=") for word in case.overrides)
        else [f"dataset.root={folder}", "dataset.image_size=32"]
    )
    data = data and ["dataset=image_folder", *data]
    experiment = build_experiment(config_of([*data, *case.overrides, "steps=100000"]), Engine())
    ours, images = turns_of(experiment)
    flops = {player: operations(turn) for player, turn in ours.items()}
    peers = found(name, case.num_outcomes, images)
    steps = train(experiment)
    next(steps)
    times = alternately(ours, peers, lambda: next(steps), case.repeats)
    counts = {player.name: player.num_turns for player in experiment.players}
    step = sum(times[player] * counts[player] for player in counts)
    row: dict[str, Any] = {
        "case": name,
        "batch": experiment.settings.batch_size,
        "discriminator_steps": counts["discriminator"],
        "parameters": count(experiment.game.generator) + count(experiment.game.discriminator),
        **{f"{player}_turn_s": times[player] for player in counts},
        "images_per_s": experiment.images_per_step / step,
        "share_of_peak": sum(flops[player] * counts[player] for player in counts) / step / peak,
        "step_over_turns": times["step"] / step,
        "peers": [],
    }
    for peer in peers:
        theirs = {player: times[f"{peer.name} {player}"] for player in counts}
        row["peers"].append(
            {
                "peer": peer.name,
                "parameters": peer.num_parameters,
                **{f"{player}_turn_s": theirs[player] for player in counts},
                "ratio": sum(theirs[player] * counts[player] for player in counts) / step,
            }
        )
    return row


def turns_of(experiment: Experiment) -> tuple[dict[str, Callable[[], Any]], torch.Tensor]:
    """A turn of each player on the same real batch, and the batch's images."""
    batches = real_batches(experiment, 0)
    turns: dict[str, Callable[[], Any]] = {}
    for player in experiment.players:
        player.set_schedules(0)
        batch = [next(batches) for _ in range(player.num_turns)][0]

        def turn(player: Any = player, batch: Any = batch) -> None:
            player.clear()
            player.differentiate(player.play(experiment.rules, batch, 1, 0).losses)
            player.optimizer.step()

        turns[player.name] = turn
    return turns, batch.real.images.contiguous()


def operations(turn: Callable[[], Any]) -> int:
    """The floating-point operations of convolutions and matrix products."""
    with Flops() as counted:
        turn()
    return counted.total


def alternately(
    ours: dict[str, Callable[[], Any]], peers: Sequence[Peer], step: Callable[[], Any], repeats: int
) -> dict[str, float]:
    """Seconds of each, the median over rounds in which all take their turns."""
    theirs = {f"{peer.name} {player}": turn for peer in peers for player, turn in peer.turns.items()}
    works = {**ours, "step": step, **theirs}
    for work in works.values():
        work()
    rounds = []
    for _ in track(range(ROUNDS), "round"):
        rounds.append({key: seconds(partial(repeat, work, repeats)) / repeats for key, work in works.items()})
    return {key: statistics.median(times[key] for times in rounds) for key in works}


def repeat(work: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        work()


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| run | batch | discriminator | generator | images a second | of the peak | step ÷ turns | peer | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for row in rows:
        cells = [row["case"], f"{row['batch']} x {row['discriminator_steps']}"]
        cells += [milliseconds(row[f"{player}_turn_s"]) for player in ("discriminator", "generator")]
        cells += [f"{row['images_per_s']:.1f}", f"{100 * row['share_of_peak']:.0f} %", f"{row['step_over_turns']:.3f}"]
        told = [
            f"{peer['peer']} {milliseconds(peer['discriminator_turn_s'])}, {milliseconds(peer['generator_turn_s'])}"
            for peer in row["peers"]
        ]
        cells += ["; ".join(told), "; ".join(f"{peer['ratio']:.2f}" for peer in row["peers"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def milliseconds(value: float) -> str:
    return f"{1000 * value:.{0 if value > 0.1 else 1}f} ms"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    file = Path(arguments.pop(0)) if arguments and arguments[0].endswith(".json") else None
    main(file, arguments or list(CASES))
