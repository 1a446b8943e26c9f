"""gan-train estimate=true: what a run needs, before anything is trained; nothing is written."""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from gan_cli.config.build import assemble, build_dataset, build_experiment, engine_settings, load_training_set, probe
from gan_cli.config.nodes import Config
from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import choose_engine
from gan_cli.errors import UserError, one_line
from gan_cli.estimate import Estimate, Sizes, estimated
from gan_cli.evaluation import BLOCK, generate
from gan_cli.experiment import Experiment
from gan_cli.runs.progress import showing_work
from gan_cli.trainer import train
from gan_cli.work import track

ASSUMED_IMAGES, ASSUMED_CLASSES = 50_000, 10  # of a data set that is not there yet
UNITS = {3: "G", 4: "T", 5: "P", 6: "E"}  # powers of 1,000
WARM, TIMED = 5, 10  # steps; among the first ones, graphs are captured


@dataclass(frozen=True)
class Needs:
    """What a run needs, with the number of its steps and images; `note` says what is assumed of its data."""

    estimate: Estimate
    experiment: Experiment
    note: str


def estimate(config: Config, options: dict[str, Any]) -> None:
    """Prints what the run needs; with `estimate=measured` also how long it takes on its device."""
    with showing_work():
        measured = measurement(config, options["device"]) if options["estimate"] == "measured" else ""
        needs = needs_of(config)
    lines = {
        "steps": of_steps(needs.experiment),
        "data": of_data(needs),
        "parameters": ", ".join(f"{name} {count:,}" for name, count in needs.estimate.parameters.items()),
        "memory": of_memory(needs),
        "FLOPs": of_flops(needs),
        "evaluations": of_evaluations(needs.experiment),
        "time": measured,
    }
    for name, text in lines.items():
        if text:
            print(f"{name:11} {text}")


def needs_of(config: Config) -> Needs:
    """Builds everything on the CPU, also where the data is not there, and takes steps without values."""
    dataset = build_dataset(config)
    training_set, note = images_of(dataset)
    experiment = assemble(config, Sizes().with_settings(engine_settings(config)), dataset, training_set)
    return Needs(estimated(experiment), experiment, note)


def images_of(dataset: Dataset) -> tuple[TrainingSet, str]:
    """The training set, if it is there and needs no preparation; else one of equal size, and what is assumed of it.

    Raises UserError if nothing says how large an image is.
    """
    try:
        if probe(dataset).num_images is not None:
            return load_training_set(dataset), ""
        reason = "the images are not prepared yet"
    except UserError as missing:
        reason = one_line(missing)
        if dataset.image_shape is None:
            raise
    assert dataset.image_shape is not None
    values = torch.zeros((), dtype=dataset.stored).expand(ASSUMED_IMAGES, *dataset.image_shape)
    labels = torch.arange(ASSUMED_IMAGES) % ASSUMED_CLASSES
    return TrainingSet(values, labels), f"their number, and {ASSUMED_CLASSES} classes, as {reason}"


def of_steps(experiment: Experiment) -> str:
    settings = experiment.settings
    images = settings.steps * experiment.images_per_step
    return (
        f"{settings.steps:,} of {experiment.images_per_step:,} real images: {images:,} in all, "
        f"{images / len(experiment.training_set):,.1f} times the data set"
    )


def of_data(needs: Needs) -> str:
    """The images, which a run holds on the device if twice as much is free there."""
    data = needs.experiment.training_set
    text = f"{len(data):,} images of {' x '.join(map(str, data.image_shape))}, {in_bytes(data.values.nbytes)}"
    return f"{text}; assumed: {needs.note}" if needs.note else text


def of_memory(needs: Needs) -> str:
    found = needs.estimate
    return (
        f"{in_bytes(found.memory)} without the data: weights {in_bytes(found.weights)}, optimizers "
        f"{in_bytes(found.optimizers)}, a step {in_bytes(found.step)}"
    )


def of_flops(needs: Needs) -> str:
    flops, steps = needs.estimate.flops, needs.experiment.settings.steps
    return f"{in_flops(flops)} a step, {in_flops(flops * steps)} in all, of convolutions and matrix products"


def of_evaluations(experiment: Experiment) -> str:
    number, count = num_evaluations(experiment), experiment.num_eval_images
    if not generates(experiment):
        return f"{number}, of the discriminator as a classifier"
    passes = experiment.gan.latent_sampler.passes(count) * experiment.settings.num_evaluation_seeds
    cost = f" and at least {passes:,} passes of both networks before them" if passes else ""
    seeds = experiment.settings.num_evaluation_seeds
    times = f"{seeds} times " if seeds > 1 else ""
    return f"{number}, each of {times}{count:,} generated images{cost}"


def generates(experiment: Experiment) -> bool:
    """Whether images are generated to be scored."""
    return experiment.game.objective.generates and experiment.dataset.metrics.reads_images


def num_evaluations(experiment: Experiment) -> int:
    """Every so many steps, and always at the end."""
    steps, every = experiment.settings.steps, experiment.settings.evaluate_every
    return -(-steps // every) if every else 1


def measurement(config: Config, device: str) -> str:
    """How long the run will take: from some steps on its device, and from some images of its latent sampler."""
    experiment = build_experiment(config, choose_engine(device))
    steps = experiment.settings.steps
    shortened = replace(experiment, settings=replace(experiment.settings, steps=WARM + TIMED))
    started = 0.0
    for step in track(train(shortened), "step"):
        if step.number in (WARM, WARM + TIMED):
            step.terms.tolist()  # waits for the device
            started, seconds = time.perf_counter(), time.perf_counter() - started
    training = seconds / TIMED * steps
    parts = [f"{TIMED} steps took {in_time(seconds)} on {experiment.game.engine.device}: training {in_time(training)}"]
    if generates(experiment):
        real = experiment.gan.calibration(experiment.training_set)
        made = generate(experiment.gan, BLOCK, experiment.settings.evaluation_seed, real, experiment.dataset.stored)
        blocks = num_evaluations(experiment) * -(-experiment.num_eval_images // BLOCK)
        blocks *= experiment.settings.num_evaluation_seeds
        parts.append(f"generating the images to score {in_time(made.cost.seconds * blocks)}")
    return ", ".join(parts) + "; scores, pictures and checkpoints are not in it"


def in_bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def in_flops(count: float) -> str:
    power = min(max(int(math.log10(max(count, 1)) // 3), 3), 6)
    return f"{count / 1000**power:,.3g} {UNITS[power]}FLOP"


def in_time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
