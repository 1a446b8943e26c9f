"""Evaluation, the plain form against ours: OMP_NUM_THREADS=1 python benchmarks/evaluation.py.

Medians of CPU time, which other programs disturb little, of interleaved calls in one process. Inception has random
weights, which cost the same.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric

from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import CPU, Engine
from gan_cli.evaluation import BLOCK, begin, generate
from gan_cli.experiment import Experiment
from gan_cli.latent_samplers.mh import FittedMH
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.extractor import LoadedExtractor
from gan_cli.metrics.fidelity import FeatureExtractorBase, FeatureExtractorInceptionV3, fid_features_to_statistics
from gan_cli.metrics.frechet import Moments, frechet_distance
from gan_cli.metrics.inception import fold_batch_norms

ROUNDS = 5


def compare(what: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int = ROUNDS) -> None:
    times: dict[Callable[[], object], list[float]] = {plain: [], ours: []}
    for number in range(rounds + 1):
        for form, seconds in times.items():
            started = time.process_time()
            form()
            if number:  # the first round warms up
                seconds.append(time.process_time() - started)
    before, after = (statistics.median(seconds) for seconds in times.values())
    print(f"| {what} | {before:.3g} s | {after:.3g} s | {before / after:.2f} |", flush=True)


class Untrained(FeatureExtractorInceptionV3):
    """Inception with the weights that its layers begin with."""

    def load_state_dict(self, *_: object) -> None:
        pass


def inception() -> FeatureExtractorInceptionV3:
    with tempfile.TemporaryDirectory() as folder:
        torch.save({}, path := Path(folder) / "empty.pth")
        return Untrained("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))


def extractors() -> None:
    def ours(network: FeatureExtractorBase) -> FeatureExtractorBase:
        return LoadedExtractor(network, "", "", "", 0).to(CPU).network

    folded = inception()
    fold_batch_norms(folded)
    for what, plain, fast, images in (
        ("features of 16 images, Inception", inception(), ours(folded), torch.randint(0, 256, (16, 3, 32, 32))),
        (
            "features of 1,797 images, digits classifier",
            ClassifierExtractor(name="digits_v2").load().network,
            ours(ClassifierExtractor(name="digits_v2").load().network),
            torch.randint(0, 256, (1797, 1, 16, 16)),
        ),
    ):
        batches = images.to(torch.uint8).split(500)
        with torch.no_grad():
            compare(what, lambda: [plain(batch) for batch in batches], lambda: [fast(batch) for batch in batches])  # noqa: B023


def frechet() -> None:
    fake, real = (torch.randn(3000, 2048).relu() + shift for shift in (0.0, 0.1))
    statistics_of = [fid_features_to_statistics(features) for features in (fake, real)]
    moments = [Moments(features) for features in (fake, real)]
    frechet_distance(*moments)
    compare(
        "FID of 2,048 features, given the moments of both sides",
        lambda: fid_statistics_to_metric(statistics_of[0], statistics_of[1], verbose=False),
        lambda: frechet_distance(*moments),
        rounds=3,
    )
    started = time.process_time()
    assert Moments(real).factor.shape == (2048, 2048)
    print(f"| the real side's factor, once for a run | | {time.process_time() - started:.3g} s | |")


def samplers() -> None:
    ddls, mh = (
        ["latent_sampler=ddls", "latent_sampler.steps=20"],
        ["latent_sampler=mh", "latent_sampler.chain_length=20"],
    )
    for what, count, overrides in (
        ("64 digits, ddls, 20 steps", 64, ddls),
        ("1,797 digits, ddls, 20 steps", 1797, ddls),
        ("4,096 points, ddls, 20 steps", 4096, ["experiment=toy_grid", *ddls]),
        ("4,096 points, mh, 20 proposals", 4096, ["experiment=toy_grid", *mh]),
    ):
        experiment = build_experiment(config_of([*overrides, "steps=1"]), Engine())
        real, stored = experiment.gan.calibration(experiment.training_set), experiment.dataset.stored
        compare(
            what,
            lambda: block_by_block(experiment, count),  # noqa: B023
            lambda: generate(experiment.gan, count, 0, real, stored),  # noqa: B023
            rounds=3,
        )


def block_by_block(experiment: Experiment, count: int) -> None:
    """Every chain of every block of 256, one block after the other."""
    gan = experiment.gan
    real = gan.calibration(experiment.training_set)
    with gan.at_rest() as game:
        fitted = gan.latent_sampler.fitted(game, real)
        if isinstance(fitted, FittedMH):
            fitted = replace(fitted, at_once=BLOCK)
        for number in range(-(-count // BLOCK)):
            block = begin(fitted, gan, game, number, 0, BLOCK)
            game.generate(fitted.for_evaluation(game, block.latents, real))


if __name__ == "__main__":
    torch.manual_seed(0)
    print("| what | plain | ours | ratio |\n| --- | --- | --- | --- |")
    extractors()
    frechet()
    samplers()
