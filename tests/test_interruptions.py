"""Ctrl-C during long work outside of a run: the process ends soon, with one line, and leaves no partial files.

How soon is measured with a margin: machines that run tests are busy, and take a second to start or end any process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

SECONDS = 5.0  # to end in; each of the calls below takes longer, and seconds of it cannot be interrupted

JOB = """
import sys
import torch
from gan_cli import cli
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.features import ImageFeatures
from gan_cli.shapes import unlabelled
from gan_cli.work import listening

metrics = FeatureMetrics(
    extractor=ClassifierExtractor(name="digits_v2"),
    also=[],
    names=["fid", "inception_score", "kid", "precision_recall"],
    inception_score_splits=10,
    kid_subsets=100,
    kid_subset_size=1000,
    cas_seeds=1,
    cas_steps=1,
    batch_size=10_000,
)

def extract(composed):
    metrics.features(metrics.extractor.load(), torch.randint(0, 256, (400_000, 1, 16, 16), dtype=torch.uint8), "real")

def compare(composed):
    features = [ImageFeatures(torch.randn(4000, 2048), torch.randn(4000, 1008)) for side in range(2)]
    metrics.compare(*(each.of(torch.empty(4000, 0), unlabelled(4000)) for each in features))

def tell(text):
    if text.startswith(expected):
        print(text, flush=True)

expected, job = {"extract": ("features of real images", extract), "compare": ("comparing 1/4, fid, 2 s", compare)}[
    sys.argv.pop()
]
cli.COMMANDS["train"] = lambda composed, overrides, choices: job(composed)
with listening(tell):
    cli.train()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"GAN_CLI_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def interrupt(process: "subprocess.Popen[str]") -> None:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "gan-train: interrupted\n")
    assert time.monotonic() - began < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("job", ["extract", "compare"])
def test_features_and_their_comparison(job: str, start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    process = start("-c", JOB, job)
    assert process.stdout is not None
    assert process.stdout.readline() != ""
    interrupt(process)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_preparing_a_folder_of_images(start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.radial_gradient("L").resize((2000, 2000)).save(folder / "0000.jpg")
    for number in range(1, 2000):  # many more than are in flight at a time
        (folder / f"{number:04d}.jpg").symlink_to("0000.jpg")
    train = "from gan_cli.cli import train; train()"
    process = start("-c", train, "dataset=image_folder", f"dataset.root={folder}", "model=dcgan")
    prepared = tmp_path / "cache" / "datasets"
    while process.poll() is None and not any(prepared.glob(".*.partial/pixels.u8")):
        time.sleep(0.05)
    interrupt(process)
    assert [path.name.endswith(".lock") for path in prepared.iterdir()] == [True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "photographs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "settings"),
    [
        ("sampling images", ["latent_sampler=advlat_z", "latent_sampler.steps=20", "num_eval_images=20000"]),
        ("features of generated images", ["num_eval_images=60000"]),
        ("kid", ["num_eval_images=3000", "dataset.metrics.kid_subsets=10000", "dataset.metrics.kid_subset_size=1500"]),
        ("precision_recall", ["num_eval_images=60000", "dataset.metrics.names=[fid,precision_recall]"]),
    ],
)
def test_scores_of_a_run(
    work: str, settings: list[str], start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    """The answer is there at once; the run is saved, and its scores are what it begins with when it is continued."""
    train = "from gan_cli.cli import train; train()"
    small = ["model.generator.width=4", "model.discriminator.width=4", "batch_size=4", "device=cpu", "run_dir=run"]
    process = start("-c", train, *small, "steps=2", *settings)
    activity = tmp_path / "run" / ".activity"
    while process.poll() is None and not (activity.is_file() and work in activity.read_text()):
        time.sleep(0.05)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "stopping: saving the run" not in process.stderr.readline():
        assert process.poll() is None
    answered = time.monotonic() - began
    _, errors = process.communicate(timeout=60)
    ended = time.monotonic() - began
    print(f"{work}: answered after {answered:.2f} s, ended after {ended:.2f} s")
    assert process.returncode == 130
    step = 0 if work == "kid" else 2  # real images are scored against real ones before the first step
    assert errors.splitlines()[-1] == f"gan-train: interrupted at step {step}; continue with: gan-train resume=run"
    assert (answered < SECONDS / 2, ended < 2 * SECONDS) == (True, True), (answered, ended)
